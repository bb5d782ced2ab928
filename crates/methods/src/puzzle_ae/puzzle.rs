//! Puzzles of an image, and the error of their restoration.

use candle_core::Tensor;
use fmam_core::{ImageSize, RgbImage};
use fmam_losses::weighted_mean;
use fmam_models::{ModelError, Preprocess, UNet};
use fmam_ops::traced;

use crate::MethodError;
use crate::batch_inside::BatchInside;

/// Pieces along each side of an image.
const GRID: usize = 2;

/// Pieces of an image.
pub(super) const PIECES: usize = GRID * GRID;

/// Pixel values from 0 to 1.
pub(super) const UNIT: Preprocess = Preprocess { mean: [0.0; 3], std: [1.0; 3] };

/// Squared error of the restoration of `puzzles`, `[N, 3, H, W]`, by `network`.
pub(super) fn restoration_error(
    network: &UNet,
    puzzles: &Tensor,
    images: &Tensor,
) -> Result<Tensor, MethodError> {
    Ok(traced::sqr(&traced::sub(&network.forward(puzzles)?, images)?)?)
}

/// The mean of an `error` of [`restoration_error`] over the pixels `inside`, or over all.
pub(super) fn mean_error(error: &Tensor, inside: Option<&BatchInside>) -> Result<Tensor, MethodError> {
    Ok(match inside {
        None => error.mean_all()?,
        Some(inside) => weighted_mean(&error.mean(1)?, &inside.weights(error)?)?,
    })
}

/// `image` with the piece `order[k]` in the place of piece `k`, row by row. Its sides are multiples
/// of the grid's.
pub(super) fn exchanged(image: &RgbImage, order: [usize; PIECES]) -> RgbImage {
    let ImageSize { height, width } = image.size();
    let (h, w) = (height / GRID, width / GRID);
    RgbImage::from_fn(image.size(), |y, x| {
        let from = order[y / h * GRID + x / w];
        image.pixel(from / GRID * h + y % h, from % GRID * w + x % w)
    })
}

/// [`exchanged`] of traced `images`, `[N, C, H, W]`.
pub(super) fn trace_exchanged(images: &Tensor, order: [usize; PIECES]) -> Result<Tensor, MethodError> {
    let (_, _, height, width) = images.dims4()?;
    let (h, w) = (height / GRID, width / GRID);
    let piece = |from: usize| {
        let row = traced::narrow(images, 2, from / GRID * h, h)?;
        traced::narrow(&row, 3, from % GRID * w, w)
    };
    let pieces = order.into_iter().map(piece).collect::<Result<Vec<_>, _>>()?;
    let rows = pieces.chunks(GRID).map(|row| traced::cat(&row.iter().collect::<Vec<_>>(), 3));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(traced::cat(&rows.iter().collect::<Vec<_>>(), 2)?)
}

/// Checks that the sides are multiples of the network's stride, as the network and the pieces need.
pub(super) fn check_sides(ImageSize { height, width }: ImageSize) -> Result<(), MethodError> {
    let stride = UNet::STRIDE;
    if [height, width].iter().all(|side| *side > 0 && side.is_multiple_of(stride)) {
        return Ok(());
    }
    Err(ModelError::InputShape { stride, actual: vec![1, 3, height, width] }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_change_places_whole() {
        let image = RgbImage::from_fn(ImageSize::new(4, 2), |y, x| [y as u8, x as u8, 0]);
        let puzzle = exchanged(&image, [3, 2, 1, 0]);
        assert_eq!(puzzle.pixel(0, 0), [2, 1, 0]);
        assert_eq!(puzzle.pixel(1, 1), [3, 0, 0]);
        assert_eq!(puzzle.pixel(3, 0), [1, 1, 0]);
        assert_eq!(exchanged(&puzzle, [3, 2, 1, 0]), image);
    }
}
