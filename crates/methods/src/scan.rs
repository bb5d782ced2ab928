//! Scoring of images of any size, tile by tile: a few rows of pixels are in memory at a time.

use fmam_core::{ImageRows, ImageSize, Mask, Progress, RgbImage, StageId, TileGrid};

use crate::scorer::Prediction;
use crate::{MethodError, Place};

/// The scoring of the tiles of one image.
const TILES: StageId = StageId::new("tiles");

/// Tiles that are scored together by the threads of a CPU, at most: each takes memory.
const MOST_TOGETHER: usize = 4;

/// Finished rows of an image and of its anomaly map.
#[derive(Debug, Clone, Copy)]
pub struct ScannedRows<'a> {
    /// The first of the rows.
    pub top: usize,
    /// Pixels of a row.
    pub width: usize,
    /// The bytes of the image, `[rows, width, 3]`.
    pub pixels: &'a [u8],
    /// The map, `[rows, width]`; negative infinity outside of the region of interest.
    pub scores: &'a [f32],
}

/// The verdict on an image whose map has been handed on row by row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scan {
    /// As [`Prediction::image_score`].
    pub image_score: f32,
    /// The smallest score of the map within the region of interest.
    pub smallest: f32,
    /// The largest score of the map within the region of interest.
    pub largest: f32,
}

/// From tiles and their places to verdicts.
type ScoreTiles<'a> = dyn Fn(&[RgbImage], &[Place<'_>]) -> Result<Vec<Prediction>, MethodError> + 'a;

/// The way from tiles to their verdicts.
pub(crate) struct TileScorer<'a> {
    /// The verdicts on tiles, each with its place.
    pub(crate) score: &'a ScoreTiles<'a>,
    /// True if the image score is the peak of the blended map; otherwise it is the largest over the
    /// tiles.
    pub(crate) is_peak: bool,
    /// True if a whole batch is scored at a time.
    pub(crate) batch_size: Option<usize>,
}

/// See [`Detector::scan`](crate::Detector::scan), for the tiles of `grid`.
pub(crate) fn scan(
    scorer: &TileScorer<'_>,
    grid: TileGrid,
    (rows, region): (&mut dyn ImageRows, Option<&Mask>),
    progress: &dyn Progress,
    sink: &mut dyn FnMut(ScannedRows<'_>),
) -> Result<Scan, MethodError> {
    let is_empty = |size: ImageSize| size.pixels() == 0;
    if is_empty(grid.image()) || region.is_some_and(|region| is_empty(region.size())) {
        return Err(MethodError::NothingInside { index: 0 });
    }
    let mut scanner = Scanner {
        scorer,
        row_shares: grid.row_shares(),
        column_shares: grid.column_shares(),
        band: Band::new(region, &grid),
        sums: Vec::new(),
        n_done: 0,
        best_tile: f32::NEG_INFINITY,
        range: (f32::INFINITY, f32::NEG_INFINITY),
        grid,
    };
    progress.start(&TILES, scanner.grid.len() as u64);
    let mut finished = 0;
    for row in 0..scanner.grid.rows().len() {
        scanner.band.advance(finished, rows)?;
        scanner.score_row(row, progress)?;
        finished = scanner.finish_row(row, sink);
    }
    progress.finish();
    let (smallest, largest) = scanner.range;
    if largest == f32::NEG_INFINITY {
        return Err(MethodError::NothingInside { index: 0 });
    }
    let image_score = if scorer.is_peak { largest } else { scanner.best_tile };
    Ok(Scan { image_score, smallest, largest })
}

struct Scanner<'a> {
    scorer: &'a TileScorer<'a>,
    grid: TileGrid,
    row_shares: Vec<Vec<f64>>,
    column_shares: Vec<Vec<f64>>,
    band: Band<'a>,
    /// The blended map of the rows of the band so far. In f64, so that the shares of a constant sum
    /// to the constant.
    sums: Vec<f64>,
    n_done: usize,
    best_tile: f32,
    /// The smallest and the largest score so far.
    range: (f32, f32),
}

impl Scanner<'_> {
    /// Scores the row of tiles `row`, whose pixels are in the band, and adds their maps.
    fn score_row(&mut self, row: usize, progress: &dyn Progress) -> Result<(), MethodError> {
        let n_columns = self.grid.columns().len();
        self.sums.resize(self.band.size().pixels(), 0.0);
        let threads = || rayon::current_num_threads().clamp(1, MOST_TOGETHER);
        let together = self.scorer.batch_size.unwrap_or_else(threads);
        let columns: Vec<usize> = (0..n_columns).collect();
        for columns in columns.chunks(together) {
            if progress.cancelled() {
                return Err(MethodError::Cancelled);
            }
            let (mut tiles, mut insides, mut scored) = (Vec::new(), Vec::new(), Vec::new());
            for &column in columns {
                let (tile, inside) = self.band.tile(column)?;
                if inside.as_ref().is_none_or(|inside| !inside.is_empty()) {
                    tiles.push(tile);
                    insides.push(inside);
                    scored.push(column);
                }
            }
            let place = |(inside, column): (_, &usize)| Place { tile: row * n_columns + column, inside };
            let places: Vec<Place<'_>> = insides.iter().map(Option::as_ref).zip(&scored).map(place).collect();
            let predictions = (self.scorer.score)(&tiles, &places)?;
            for (prediction, &column) in predictions.iter().zip(&scored) {
                self.best_tile = self.best_tile.max(prediction.image_score);
                self.add(row, column, prediction.anomaly_map.data());
            }
            self.n_done += columns.len();
            progress.update(self.n_done as u64, "");
        }
        Ok(())
    }

    /// Adds the map of one tile, weighted by its share in each pixel.
    fn add(&mut self, row: usize, column: usize, map: &[f32]) {
        let (left, shares) = (self.grid.columns()[column], &self.column_shares[column]);
        let width = self.band.size().width;
        let lines = self.sums.chunks_exact_mut(width).zip(map.chunks_exact(self.grid.tile().width));
        for ((line, scores), row_share) in lines.zip(&self.row_shares[row]) {
            for ((sum, score), share) in line[left..].iter_mut().zip(scores).zip(shares) {
                *sum += row_share * share * f64::from(*score);
            }
        }
    }

    /// Hands on the rows that no further row of tiles reaches, and gives their number.
    fn finish_row(&mut self, row: usize, sink: &mut dyn FnMut(ScannedRows<'_>)) -> usize {
        let (rows, width) = (self.grid.rows(), self.band.size().width);
        let end = rows.get(row + 1).map_or(self.grid.image().height, |next| *next);
        let count = end - rows[row];
        let mut scores: Vec<f32> = self.sums[..count * width].iter().map(|&sum| sum as f32).collect();
        if let Some(inside) = &self.band.inside {
            for (score, inside) in scores.iter_mut().zip(inside.data()) {
                if *inside == 0 {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
        for &score in scores.iter().filter(|score| **score > f32::NEG_INFINITY) {
            self.range = (self.range.0.min(score), self.range.1.max(score));
        }
        let pixels = &self.band.pixels.data()[..3 * count * width];
        sink(ScannedRows { top: rows[row], width, pixels, scores: &scores });
        self.sums.drain(..count * width);
        count
    }
}

/// The pixel rows of one row of tiles.
struct Band<'a> {
    /// The tiles of a row, as those of an image of these pixel rows.
    grid: TileGrid,
    pixels: RgbImage,
    region: Option<&'a Mask>,
    /// The region of interest in these pixel rows.
    inside: Option<Mask>,
    /// Rows of the whole image, and those of them that were read.
    height: usize,
    n_read: usize,
}

impl<'a> Band<'a> {
    fn new(region: Option<&'a Mask>, grid: &TileGrid) -> Self {
        let empty = ImageSize::new(0, grid.image().width);
        let inside = region.map(|_| Mask::empty(empty));
        let (grid, height) = (grid.of_one_row(), grid.image().height);
        Self { grid, pixels: RgbImage::filled(empty, [0; 3]), region, inside, height, n_read: 0 }
    }

    fn size(&self) -> ImageSize {
        self.grid.image()
    }

    /// Drops the first `finished` rows and reads others until the band is full.
    fn advance(&mut self, finished: usize, rows: &mut dyn ImageRows) -> Result<(), MethodError> {
        let (size, first) = (self.size(), self.n_read);
        let mut pixels =
            std::mem::replace(&mut self.pixels, RgbImage::filled(ImageSize::new(0, 0), [0; 3])).into_data();
        pixels.drain(..3 * finished * size.width);
        while pixels.len() < 3 * size.pixels() {
            let missing = size.height - pixels.len() / (3 * size.width);
            let more = rows.next_rows(missing).map_err(|source| MethodError::Rows { source })?;
            if !(1..=missing).contains(&more.size().height) || more.size().width != size.width {
                return Err(MethodError::MissingRows { expected: self.height, actual: self.n_read });
            }
            pixels.extend_from_slice(more.data());
            self.n_read += more.size().height;
        }
        self.pixels = RgbImage::new(size, pixels)?;
        if let (Some(inside), Some(region)) = (&self.inside, self.region) {
            let mut inside = inside.data()[finished * size.width..].to_vec();
            let own = region.size();
            for y in first..self.n_read {
                let row = y * own.height / self.height;
                let inside_row = (0..size.width).map(|x| region.at(row, x * own.width / size.width));
                inside.extend(inside_row.map(u8::from));
            }
            self.inside = Some(Mask::new(size, inside)?);
        }
        Ok(())
    }

    /// The tile in `column` of the row of tiles, and its pixels that count.
    fn tile(&self, column: usize) -> Result<(RgbImage, Option<Mask>), MethodError> {
        let tile = self.grid.cut(&self.pixels, column)?;
        Ok((tile, self.grid.inside(self.inside.as_ref(), column)?))
    }
}
