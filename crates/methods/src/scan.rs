//! Scoring of images of any size, tile by tile: a few rows of pixels are in memory at a time.

use fmam_core::{ImageRows, ImageSize, Mask, Progress, RgbImage, StageId, TileGrid};

use crate::{Detector, MethodError, Place};

/// The scoring of the tiles of one image.
const TILES: StageId = StageId::new("tiles");

/// Tiles that are scored together by a detector that takes batches.
const BATCH: usize = 8;

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
    /// As [`Prediction::image_score`](crate::Prediction::image_score).
    pub image_score: f32,
    /// The smallest score of the map within the region of interest.
    pub smallest: f32,
    /// The largest score of the map within the region of interest.
    pub largest: f32,
}

impl Detector {
    /// Scores an image of any size by tiles, from top to bottom. Rows of the image and its map go to
    /// `sink` as soon as they are finished, in their order and each once. Memory holds the rows of
    /// one row of tiles, whatever the height of the image.
    ///
    /// Neighbouring tiles are blended: the weight of a tile falls linearly over its overlaps. The
    /// image score is the largest of the blended map for methods whose score is the peak of the
    /// map, and the largest over the tiles for the others. `region` is the region of interest, 1
    /// inside, of any size: it is resized to that of the image.
    ///
    /// # Errors
    /// [`MethodError::NotTiled`] for a detector of whole images, [`MethodError::ImageSize`] for an
    /// image of another size than a method of fixed positions has learnt,
    /// [`MethodError::NothingInside`] for a region without a pixel, [`MethodError::Rows`] and
    /// [`MethodError::MissingRows`] for an image that cannot be read to its end,
    /// [`MethodError::Cancelled`], and as [`Detector::score`].
    pub fn scan(
        &self,
        rows: &mut dyn ImageRows,
        region: Option<&Mask>,
        progress: &dyn Progress,
        sink: &mut dyn FnMut(ScannedRows<'_>),
    ) -> Result<Scan, MethodError> {
        let grid = self.tiles(rows.size())?;
        let is_empty = |size: ImageSize| size.pixels() == 0;
        if is_empty(rows.size()) || region.is_some_and(|region| is_empty(region.size())) {
            return Err(MethodError::NothingInside { index: 0 });
        }
        let mut scanner = Scanner {
            detector: self,
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
        let image_score = if self.scorer().score_is_peak() { largest } else { scanner.best_tile };
        Ok(Scan { image_score, smallest, largest })
    }

    /// The tiles of an image of `size`.
    ///
    /// # Errors
    /// [`MethodError::NotTiled`] for a detector of whole images, [`MethodError::ImageSize`] for a
    /// size that a method of fixed positions has not learnt.
    pub fn tiles(&self, size: ImageSize) -> Result<TileGrid, MethodError> {
        let preparation = self.card().preparation();
        let Some(overlap) = preparation.tile_overlap() else {
            return Err(MethodError::NotTiled { expected: preparation.size });
        };
        if let Some(expected) = self.card().fixed_size.filter(|expected| *expected != size) {
            return Err(MethodError::ImageSize { expected, actual: size });
        }
        Ok(TileGrid::new(size, preparation.size, overlap)?)
    }
}

struct Scanner<'a> {
    detector: &'a Detector,
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
        let together = if self.detector.scorer().takes_batches() {
            BATCH
        } else {
            rayon::current_num_threads().clamp(1, MOST_TOGETHER)
        };
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
            let predictions = self.detector.score_placed(&tiles, &places)?;
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

#[cfg(test)]
mod tests {
    use fmam_core::{AnomalyMap, ImageSize, MemoryRows, Placing, Preparation, Seed, Silent, SourceError};

    use super::*;
    use crate::{ModelCard, Prediction, Scorer, Tensors};

    /// Scores a pixel by its red; the image score is that of the first pixel or the peak.
    struct Red {
        is_peak: bool,
    }

    impl Scorer for Red {
        fn score(&self, images: &[RgbImage], _: &[Place<'_>]) -> Result<Vec<Prediction>, MethodError> {
            let predict = |image: &RgbImage| {
                let data: Vec<f32> = image.data().chunks_exact(3).map(|p| f32::from(p[0]) / 3.0).collect();
                Ok(Prediction { image_score: data[0], anomaly_map: AnomalyMap::new(image.size(), data)? })
            };
            images.iter().map(predict).collect()
        }

        fn score_is_peak(&self) -> bool {
            self.is_peak
        }

        fn networks(&self) -> Result<Vec<(&'static str, Tensors)>, MethodError> {
            Ok(Vec::new())
        }
    }

    fn detector(overlap: usize, is_peak: bool) -> Detector {
        let size = ImageSize::new(8, 12);
        let card = ModelCard::new("m", "tiny", Seed::new(3), size, toml::Table::new());
        let preparation = Preparation { placing: Placing::Tiles { overlap }, ..size.into() };
        Detector::new(card.with_preparation(&preparation), Box::new(Red { is_peak }))
    }

    #[test]
    fn maps_of_tiles_are_blended_to_the_map_of_the_image() {
        for (height, width) in [(8, 12), (30, 41), (3, 50), (40, 5), (1, 1)] {
            let image =
                RgbImage::from_fn(ImageSize::new(height, width), |y, x| [(y * 7 + x * 3) as u8, 0, 0]);
            for overlap in [0, 3, 7] {
                let scored = detector(overlap, true).score(std::slice::from_ref(&image)).unwrap();
                let map = &scored[0].anomaly_map;
                assert_eq!(map.size(), image.size());
                let expected: Vec<f32> =
                    image.data().chunks_exact(3).map(|p| f32::from(p[0]) / 3.0).collect();
                assert_eq!(map.data(), expected, "{height}x{width}, {overlap}");
                assert_eq!(scored[0].image_score, map.max());
            }
        }
    }

    #[test]
    fn rows_come_once_each_and_are_those_of_the_image() {
        let image = RgbImage::from_fn(ImageSize::new(30, 41), |y, x| [(y * 7 + x) as u8, y as u8, x as u8]);
        let region = Mask::from_fn(ImageSize::new(3, 1), |y, _| y == 1);
        let (mut pixels, mut scores) = (Vec::new(), Vec::new());
        let scan = detector(3, false).scan(
            &mut MemoryRows::new(image.clone()),
            Some(&region),
            &Silent,
            &mut |rows| {
                assert_eq!((rows.top, rows.width), (scores.len() / 41, 41));
                pixels.extend_from_slice(rows.pixels);
                scores.extend_from_slice(rows.scores);
            },
        );
        let scan = scan.unwrap();
        assert_eq!(pixels, image.data());
        let expected = |at: usize| f32::from(pixels[3 * at]) / 3.0;
        for (at, &score) in scores.iter().enumerate() {
            let is_inside = (10..20).contains(&(at / 41));
            assert_eq!(score, if is_inside { expected(at) } else { f32::NEG_INFINITY }, "{at}");
        }
        let inside = || scores.iter().copied().filter(|score| score.is_finite());
        assert_eq!(scan.smallest, inside().fold(f32::INFINITY, f32::min));
        assert_eq!(scan.largest, inside().fold(0.0, f32::max));
        // First pixels of tiles: rows 5, 11 and 16, columns 0, 7, ..., filled where outside.
        assert!(scan.image_score > 0.0 && scan.image_score != scan.largest);

        let nowhere = Mask::empty(ImageSize::new(2, 2));
        let found =
            detector(3, false).scan(&mut MemoryRows::new(image), Some(&nowhere), &Silent, &mut |_| {});
        assert!(matches!(found, Err(MethodError::NothingInside { .. })), "{found:?}");
    }

    #[test]
    fn an_image_that_ends_early_or_cannot_be_read_is_an_error() {
        struct Short(usize);
        impl ImageRows for Short {
            fn size(&self) -> ImageSize {
                ImageSize::new(30, 12)
            }
            fn next_rows(&mut self, count: usize) -> Result<RgbImage, SourceError> {
                let height = count.min(self.0);
                self.0 -= height;
                Ok(RgbImage::filled(ImageSize::new(height, 12), [1; 3]))
            }
        }
        struct Damaged;
        impl ImageRows for Damaged {
            fn size(&self) -> ImageSize {
                ImageSize::new(30, 12)
            }
            fn next_rows(&mut self, _: usize) -> Result<RgbImage, SourceError> {
                Err("scan.tif: end of file".into())
            }
        }
        let scan = |rows: &mut dyn ImageRows| detector(2, true).scan(rows, None, &Silent, &mut |_| {});
        assert!(scan(&mut Short(30)).is_ok());
        let short = scan(&mut Short(17));
        assert!(matches!(short, Err(MethodError::MissingRows { expected: 30, actual: 17 })), "{short:?}");
        let damaged = scan(&mut Damaged);
        assert!(matches!(damaged, Err(MethodError::Rows { .. })), "{damaged:?}");
        let empty = RgbImage::filled(ImageSize::new(0, 12), [0; 3]);
        let empty = scan(&mut MemoryRows::new(empty));
        assert!(matches!(empty, Err(MethodError::NothingInside { .. })), "{empty:?}");
    }
}
