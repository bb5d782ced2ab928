use crate::{CoreError, ImageSize, Mask, Preparation, RgbImage};

/// The tiles of an image: rectangles of one size that cover it, in rows and columns.
///
/// Their origins are equally spaced, up to rounding, and the last row and column are flush with the
/// far edges of the image. A side that is no longer than a tile's has one tile, which is padded at
/// its far end. Tiles are numbered row by row.
///
/// ```
/// use fmam_core::{ImageSize, TileGrid};
///
/// let grid = TileGrid::new(ImageSize::new(300, 1000), ImageSize::square(512), 64)?;
/// assert_eq!((grid.rows(), grid.columns()), (&[0][..], &[0, 244, 488][..]));
/// assert_eq!(grid.origin(2), (0, 488));
/// # Ok::<(), fmam_core::CoreError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileGrid {
    image: ImageSize,
    tile: ImageSize,
    rows: Vec<usize>,
    columns: Vec<usize>,
}

impl TileGrid {
    /// The tiles of the size `tile` that an image of the size `image` needs, where neighbours share
    /// `overlap` pixels at least.
    ///
    /// # Errors
    /// [`CoreError::TileOverlap`] where the overlap is not below both sides of a tile.
    pub fn new(image: ImageSize, tile: ImageSize, overlap: usize) -> Result<Self, CoreError> {
        if overlap >= tile.height.min(tile.width) {
            return Err(CoreError::TileOverlap { tile, overlap });
        }
        let rows = origins(image.height, tile.height, overlap);
        let columns = origins(image.width, tile.width, overlap);
        Ok(Self { image, tile, rows, columns })
    }

    /// The size of the image.
    pub fn image(&self) -> ImageSize {
        self.image
    }

    /// The size of a tile.
    pub fn tile(&self) -> ImageSize {
        self.tile
    }

    /// The first pixel rows of the rows of tiles, in rising order.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// The first pixel columns of the columns of tiles, in rising order.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Number of tiles, one at least.
    #[expect(clippy::len_without_is_empty, reason = "no grid is empty")]
    pub fn len(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// The row and the column of the first pixel of tile `index`.
    ///
    /// # Panics
    /// Panics if `index` is not below [`TileGrid::len`], as slice indexing does.
    pub fn origin(&self, index: usize) -> (usize, usize) {
        (self.rows[index / self.columns.len()], self.columns[index % self.columns.len()])
    }

    /// The tiles of one row, as those of an image of the pixel rows that they cover.
    #[must_use]
    pub fn of_one_row(&self) -> Self {
        let height = self.tile.height.min(self.image.height);
        Self { image: ImageSize::new(height, self.image.width), rows: vec![0], ..self.clone() }
    }

    /// True if tiles reach beyond the image, whose remainder is then padding.
    pub fn has_padding(&self) -> bool {
        self.image.height < self.tile.height || self.image.width < self.tile.width
    }

    /// Tile `index` of `image`; padding has the colour [`Preparation::FILL`].
    ///
    /// # Errors
    /// [`CoreError::ImageSize`] for an image of another size than the grid's.
    pub fn cut(&self, image: &RgbImage, index: usize) -> Result<RgbImage, CoreError> {
        self.check(image.size())?;
        let (top, left) = self.origin(index);
        let data = self.cut_rows(image.data(), 3, (top, left), &Preparation::FILL);
        RgbImage::new(self.tile, data)
    }

    /// Tile `index` of `mask`; padding is 0.
    ///
    /// # Errors
    /// [`CoreError::ImageSize`] for a mask of another size than the grid's image.
    pub fn cut_mask(&self, mask: &Mask, index: usize) -> Result<Mask, CoreError> {
        self.check(mask.size())?;
        Mask::new(self.tile, self.cut_rows(mask.data(), 1, self.origin(index), &[0]))
    }

    /// The pixels of tile `index` that count: those of the image that are 1 in `inside`, all of the
    /// image without `inside`. `None` where all pixels of the tile count.
    ///
    /// # Errors
    /// As [`TileGrid::cut_mask`].
    pub fn inside(&self, inside: Option<&Mask>, index: usize) -> Result<Option<Mask>, CoreError> {
        let mask = match inside {
            Some(inside) => self.cut_mask(inside, index)?,
            None if !self.has_padding() => return Ok(None),
            None => Mask::from_fn(self.tile, |y, x| y < self.image.height && x < self.image.width),
        };
        Ok((mask.area() < self.tile.pixels()).then_some(mask))
    }

    fn check(&self, actual: ImageSize) -> Result<(), CoreError> {
        let expected = self.image;
        if actual == expected { Ok(()) } else { Err(CoreError::ImageSize { expected, actual }) }
    }

    /// The bytes of one tile, `depth` a pixel; `fill` is the pixel of padding.
    fn cut_rows(&self, data: &[u8], depth: usize, (top, left): (usize, usize), fill: &[u8]) -> Vec<u8> {
        let ImageSize { height, width } = self.image;
        let columns = left..(left + self.tile.width).min(width);
        let mut cut = Vec::with_capacity(self.tile.pixels() * depth);
        for y in top..(top + self.tile.height).min(height) {
            cut.extend_from_slice(&data[(y * width + columns.start) * depth..][..columns.len() * depth]);
            (columns.len()..self.tile.width).for_each(|_| cut.extend_from_slice(fill));
        }
        while cut.len() < self.tile.pixels() * depth {
            cut.extend_from_slice(fill);
        }
        cut
    }

    /// The share of each row of tiles in the blended pixel rows: one list a row of tiles, from its
    /// first pixel row on. The shares of a pixel row sum to 1.
    pub fn row_shares(&self) -> Vec<Vec<f64>> {
        shares(&self.rows, self.tile.height)
    }

    /// The share of each column of tiles in the blended pixel columns, as
    /// [`TileGrid::row_shares`]. The share of a tile in a pixel is the product of the two.
    pub fn column_shares(&self) -> Vec<Vec<f64>> {
        shares(&self.columns, self.tile.width)
    }
}

/// The origins of tiles of the side `tile` along a side of `length` pixels.
fn origins(length: usize, tile: usize, overlap: usize) -> Vec<usize> {
    if length <= tile {
        return vec![0];
    }
    let last = length - tile;
    let n_steps = last.div_ceil(tile - overlap);
    // The product of two lengths of images may exceed a word of 32 bits.
    (0..=n_steps).map(|step| (step as u128 * last as u128 / n_steps as u128) as usize).collect()
}

/// Weights that rise linearly over the overlap with the tile before and fall over the overlap with
/// the tile behind, divided by their sum at each pixel.
fn shares(origins: &[usize], tile: usize) -> Vec<Vec<f64>> {
    let overlap = |k: usize| origins.get(k + 1).map_or(0, |next| (origins[k] + tile).saturating_sub(*next));
    let weights = |k: usize| -> Vec<f64> {
        let (before, behind) = (if k == 0 { 0 } else { overlap(k - 1) }, overlap(k));
        let ramp = |at: usize, length: usize| ((at + 1) as f64 / (length + 1) as f64).min(1.0);
        (0..tile).map(|at| ramp(at, before) * ramp(tile - 1 - at, behind)).collect()
    };
    let mut shares: Vec<Vec<f64>> = (0..origins.len()).map(weights).collect();
    let mut sums = vec![0.0; origins.last().map_or(0, |last| last + tile)];
    for (origin, weights) in origins.iter().zip(&shares) {
        for (sum, weight) in sums[*origin..].iter_mut().zip(weights) {
            *sum += weight;
        }
    }
    for (origin, weights) in origins.iter().zip(&mut shares) {
        for (weight, sum) in weights.iter_mut().zip(&sums[*origin..]) {
            *weight /= sum;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(image: (usize, usize), tile: (usize, usize), overlap: usize) -> TileGrid {
        let size = |(height, width)| ImageSize::new(height, width);
        TileGrid::new(size(image), size(tile), overlap).unwrap()
    }

    #[test]
    fn tiles_cover_the_image_and_share_the_overlap() {
        for length in [1, 15, 16, 17, 31, 64, 100, 101, 1000] {
            for overlap in [0, 1, 5, 12, 15] {
                let grid = grid((length, 16), (16, 16), overlap);
                let rows = grid.rows();
                assert_eq!((rows[0], grid.columns()), (0, &[0][..]));
                assert_eq!(rows[rows.len() - 1], length.saturating_sub(16), "{length}, {overlap}");
                for pair in rows.windows(2) {
                    assert!(pair[1] > pair[0] && pair[0] + 16 >= pair[1] + overlap, "{length}: {rows:?}");
                }
                // One tile fewer would not do.
                let fewer = rows.len().saturating_sub(2) * (16 - overlap) + 16;
                assert!(rows.len() == 1 || fewer < length, "{length}, {overlap}: {rows:?}");
            }
        }
        let far = 1 << 40;
        assert_eq!(grid((far, 1), (1 << 39, 1), 0).rows(), [0, 1 << 39]);
    }

    #[test]
    fn an_overlap_of_a_whole_side_is_refused() {
        let (image, tile) = (ImageSize::square(100), ImageSize::new(16, 32));
        for overlap in [16, 17, usize::MAX] {
            let refused = TileGrid::new(image, tile, overlap).unwrap_err();
            assert!(matches!(refused, CoreError::TileOverlap { .. }), "{refused}");
        }
        assert!(TileGrid::new(image, ImageSize::square(0), 0).is_err());
    }

    #[test]
    fn shares_of_a_pixel_sum_to_one_and_rise_linearly() {
        for overlap in [0, 3, 12] {
            let grid = grid((50, 90), (16, 24), overlap);
            for (origins, shares) in
                [(grid.rows(), grid.row_shares()), (grid.columns(), grid.column_shares())]
            {
                let mut sums = vec![0.0; origins.last().unwrap() + shares[0].len()];
                for (origin, shares) in origins.iter().zip(&shares) {
                    shares.iter().enumerate().for_each(|(at, share)| sums[origin + at] += share);
                }
                assert!(sums.iter().all(|sum: &f64| (sum - 1.0).abs() < 1e-12));
            }
        }
        // Tiles at 0 and 4 share four pixels.
        assert_eq!(grid((12, 8), (8, 8), 4).row_shares()[0], [1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]);
    }

    #[test]
    fn tiles_are_cut_and_padded() {
        let image = RgbImage::from_fn(ImageSize::new(3, 5), |y, x| [y as u8, x as u8, 7]);
        let grid = grid((3, 5), (4, 4), 2);
        assert_eq!((grid.len(), grid.origin(1)), (2, (0, 1)));
        let tile = grid.cut(&image, 1).unwrap();
        assert_eq!((tile.pixel(2, 3), tile.pixel(0, 0)), ([2, 4, 7], [0, 1, 7]));
        assert_eq!(tile.pixel(3, 0), Preparation::FILL);
        let inside = grid.inside(None, 1).unwrap().unwrap();
        assert_eq!(inside, Mask::from_fn(ImageSize::square(4), |y, _| y < 3));
        let region = Mask::from_fn(ImageSize::new(3, 5), |_, x| x == 4);
        assert_eq!(grid.inside(Some(&region), 1).unwrap().unwrap().area(), 3);
        assert!(grid.inside(Some(&region), 0).unwrap().unwrap().is_empty());
        assert!(matches!(grid.cut(&tile, 0), Err(CoreError::ImageSize { .. })));
        let row = TileGrid::new(ImageSize::new(90, 5), ImageSize::square(4), 2).unwrap().of_one_row();
        assert_eq!((row.image(), row.len(), row.origin(1)), (ImageSize::new(4, 5), 2, (0, 1)));
        let whole = TileGrid::new(ImageSize::square(8), ImageSize::square(4), 0).unwrap();
        assert_eq!(whole.inside(None, 0).unwrap(), None);
    }
}
