//! Statistics of fixed positions: one for whole images, or one for each tile.

use std::collections::BTreeMap;

use fmam_core::SampleSource;

use crate::MethodError;
use crate::checkpoint::{Checkpoint, Tensors};

/// The prefix of the tensors of one tile.
const PREFIX: &str = "tile.";

/// A value for whole images, or one for each tile, by its position.
pub(crate) struct PerTile<T> {
    tiles: BTreeMap<usize, T>,
    /// False for whole images, which are tile 0.
    is_tiled: bool,
}

/// The samples of `source` that show the same tile, by its position.
pub(crate) fn samples_by_tile(source: &dyn SampleSource) -> BTreeMap<usize, Vec<usize>> {
    let mut samples: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in 0..source.len() {
        samples.entry(source.tile(index)).or_default().push(index);
    }
    samples
}

impl<T> PerTile<T> {
    pub(crate) fn new(tiles: BTreeMap<usize, T>, is_tiled: bool) -> Self {
        Self { tiles, is_tiled }
    }

    /// The value of whole images.
    #[cfg(test)]
    pub(crate) fn whole(value: T) -> Self {
        Self::new([(0, value)].into(), false)
    }

    /// The value of `tile`.
    pub(crate) fn get(&self, tile: usize) -> Result<&T, MethodError> {
        self.tiles.get(&tile).ok_or(MethodError::UnknownTile { tile })
    }

    /// The tensors that [`PerTile::read`] takes, from those of one value. The names of tiles have a
    /// prefix, those of whole images none.
    pub(crate) fn tensors(
        &self,
        tensors: impl Fn(&T) -> Result<Tensors, MethodError>,
    ) -> Result<Tensors, MethodError> {
        let mut all = Tensors::new();
        for (tile, value) in &self.tiles {
            for (name, tensor) in tensors(value)? {
                let name = if self.is_tiled { format!("{PREFIX}{tile:06}.{name}") } else { name };
                all.insert(name, tensor);
            }
        }
        Ok(all)
    }

    /// The values that `read` makes of their tensors.
    pub(crate) fn read(
        saved: &Checkpoint,
        is_tiled: bool,
        read: impl Fn(&Checkpoint) -> Result<T, MethodError>,
    ) -> Result<Self, MethodError> {
        let mut parts: BTreeMap<usize, Tensors> = BTreeMap::new();
        for (name, tensor) in saved.tensors.iter().filter(|_| is_tiled) {
            let named = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.'));
            if let Some((tile, name)) = named
                && let Ok(tile) = tile.parse()
            {
                parts.entry(tile).or_default().insert(name.to_owned(), tensor.clone());
            }
        }
        if parts.is_empty() {
            // Whole images, or a file without a tile, which lacks what `read` asks for.
            return Ok(Self::new([(0, read(saved)?)].into(), is_tiled));
        }
        let value = |(tile, tensors)| Ok((tile, read(&Checkpoint::new(tensors, saved.origin()))?));
        Ok(Self::new(parts.into_iter().map(value).collect::<Result<_, MethodError>>()?, is_tiled))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn the_value_of_each_tile_comes_back() {
        let tensors = |value: &f32| Ok([("mean".to_owned(), Tensor::new(*value, &Device::Cpu)?)].into());
        let read = |saved: &Checkpoint| Ok(saved.tensor("mean", &[])?.to_scalar::<f32>()?);
        let tiles = PerTile::new([(2, 5.0), (11, 7.0)].into(), true);
        let saved = Checkpoint::new(tiles.tensors(tensors).unwrap(), "x");
        assert_eq!(saved.tensors.keys().collect::<Vec<_>>(), ["tile.000002.mean", "tile.000011.mean"]);
        let again = PerTile::read(&saved, true, read).unwrap();
        assert_eq!((*again.get(2).unwrap(), *again.get(11).unwrap()), (5.0, 7.0));
        assert!(matches!(again.get(3), Err(MethodError::UnknownTile { tile: 3 })));

        let whole = Checkpoint::new(PerTile::whole(4.0).tensors(tensors).unwrap(), "x");
        assert_eq!(whole.tensors.keys().collect::<Vec<_>>(), ["mean"]);
        assert_eq!(*PerTile::read(&whole, false, read).unwrap().get(0).unwrap(), 4.0);
        assert!(PerTile::read(&saved, false, read).is_err());
    }
}
