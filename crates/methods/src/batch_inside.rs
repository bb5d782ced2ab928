//! The pixels that count in a batch of training images, as weights at each scale.

use candle_core::Tensor;
use fmam_core::{ImageSize, Mask};
use fmam_models::FeaturePyramid;

use crate::MethodError;
use crate::place::{Place, inside_cells};

/// The pixels that count in each image of a batch; `None` for an image of which all do.
pub(crate) struct BatchInside(Vec<Option<Mask>>);

impl BatchInside {
    /// `None` for a batch of whose images all pixels count, so that nothing is weighed there.
    pub(crate) fn new(masks: Vec<Option<Mask>>) -> Option<Self> {
        masks.iter().any(Option::is_some).then_some(Self(masks))
    }

    /// The masks of a batch that holds the images, then one view of each in the same order.
    pub(crate) fn twice(&self) -> Self {
        Self([self.0.as_slice(), self.0.as_slice()].concat())
    }

    /// 1 for each position that counts and 0 for the others, `[N, H, W]`, for `scale`, `[N, C, H,
    /// W]`.
    pub(crate) fn weights(&self, scale: &Tensor) -> Result<Tensor, MethodError> {
        let (n, _, height, width) = scale.dims4()?;
        let values = self.cells(ImageSize::new(height, width)).into_iter();
        let values = values.map(|counts| f32::from(u8::from(counts))).collect();
        Ok(Tensor::from_vec(values, (n, height, width), scale.device())?)
    }

    /// The features of the positions that count, `[1, C, 1, positions]` a scale.
    pub(crate) fn select(&self, features: &FeaturePyramid) -> Result<FeaturePyramid, MethodError> {
        let select = |scale: &Tensor| -> Result<Tensor, MethodError> {
            let (n, channels, height, width) = scale.dims4()?;
            let cells = self.cells(ImageSize::new(height, width));
            let chosen: Vec<u32> = (0..cells.len() as u32).filter(|&at| cells[at as usize]).collect();
            let chosen = Tensor::new(chosen.as_slice(), scale.device())?;
            let rows = scale.detach().permute((0, 2, 3, 1))?.reshape((n * height * width, channels))?;
            let rows = rows.index_select(&chosen, 0)?;
            let count = rows.dim(0)?;
            Ok(rows.t()?.reshape((1, channels, 1, count))?)
        };
        Ok(FeaturePyramid { scales: features.scales.iter().map(select).collect::<Result<_, _>>()? })
    }

    /// The cells of a grid over each image that count, image by image.
    fn cells(&self, grid: ImageSize) -> Vec<bool> {
        let cells = |mask: &Option<Mask>| match mask {
            Some(mask) => inside_cells(mask, grid),
            None => vec![true; grid.pixels()],
        };
        self.0.iter().flat_map(cells).collect()
    }
}

/// `maps` of the scales of a batch, `[N, H, W]` each, extended as [`Place::extended`] says.
pub(crate) fn extended_maps(maps: Vec<Tensor>, places: &[Place<'_>]) -> Result<Vec<Tensor>, MethodError> {
    if places.iter().all(|place| place.inside.is_none()) {
        return Ok(maps);
    }
    let extended = |map: Tensor| -> Result<Tensor, MethodError> {
        let (n, height, width) = map.dims3()?;
        let values: Vec<Vec<f32>> = map.flatten_from(1)?.to_vec2()?;
        let grid = ImageSize::new(height, width);
        let values = values.into_iter().zip(places).flat_map(|(values, place)| place.extended(values, grid));
        Ok(Tensor::from_vec(values.collect(), (n, height, width), map.device())?)
    };
    maps.into_iter().map(extended).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn positions_inside_have_a_weight_and_are_selected() {
        let left = Mask::from_fn(ImageSize::new(2, 4), |_, x| x < 2);
        assert!(BatchInside::new(vec![None, None]).is_none());
        let inside = BatchInside::new(vec![Some(left), None]).unwrap();
        let values: Vec<f32> = (0..8).map(|value| value as f32).collect();
        let scale = Tensor::from_vec(values, (2, 2, 1, 2), &Device::Cpu).unwrap();
        let weights = inside.weights(&scale).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(weights, [1.0, 0.0, 1.0, 1.0]);
        let selected = inside.select(&FeaturePyramid { scales: vec![scale] }).unwrap().scales.remove(0);
        assert_eq!(selected.dims(), [1, 2, 1, 3]);
        let selected: Vec<f32> = selected.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(selected, [0.0, 4.0, 5.0, 2.0, 6.0, 7.0]);
    }
}
