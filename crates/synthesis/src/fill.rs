//! The fill of a shape: a foreign texture or the image's own patches, shuffled.

use fmam_core::{ImageSize, RgbImage, Seed};
use rand::Rng;
use rand::seq::SliceRandom;

use crate::generated::GeneratedTexture;
use crate::{Source, SynthesisConfig, SynthesisError, Textures};

/// A colour for every pixel of the image, computed only where it is asked for.
pub(crate) struct Fill<'a> {
    pattern: Pattern<'a>,
    tone: Tone,
}

enum Pattern<'a> {
    Crop(TextureCrop),
    Generated(Box<GeneratedTexture>),
    Patches(ShuffledPatches<'a>),
}

impl<'a> Fill<'a> {
    /// Draws a fill for `image`, which must have pixels. Where the image is `grey`, so is the fill:
    /// colour alone would give the defect away.
    pub(crate) fn draw(
        image: &'a RgbImage,
        grey: bool,
        config: &SynthesisConfig,
        textures: &Textures,
        seed: Seed,
    ) -> Result<Self, SynthesisError> {
        let mut rng = seed.rng();
        let structure = match config.source {
            Source::Both => rng.random_bool(config.structure_probability),
            Source::Texture => false,
            Source::Structure => true,
        };
        let pattern = match textures {
            _ if structure => Pattern::Patches(ShuffledPatches::draw(image, config.patch_grid, &mut rng)),
            Textures::Generated => Pattern::Generated(Box::new(GeneratedTexture::draw(&mut rng))),
            Textures::Images(source) => {
                let index = rng.random_range(0..source.len());
                let texture =
                    source.image(index).map_err(|source| SynthesisError::Texture { index, source })?;
                if texture.size().pixels() == 0 {
                    return Err(SynthesisError::EmptyTexture { index, size: texture.size() });
                }
                Pattern::Crop(TextureCrop::draw(texture, &mut rng))
            }
        };
        Ok(Self { pattern, tone: Tone::draw(config.colour_jitter as f32, grey, &mut rng) })
    }

    /// The colour at row `y`, column `x`; channels in 0..=255.
    pub(crate) fn at(&self, y: usize, x: usize) -> [f32; 3] {
        let colour = match &self.pattern {
            Pattern::Crop(crop) => crop.at(y, x),
            Pattern::Generated(texture) => texture.at(y, x),
            Pattern::Patches(patches) => patches.at(y, x),
        };
        self.tone.apply(colour)
    }
}

/// A random change of contrast, brightness and colour: `gain v + offset` for each channel.
struct Tone {
    gain: [f32; 3],
    offset: [f32; 3],
    grey: bool,
}

impl Tone {
    fn draw(strength: f32, grey: bool, rng: &mut impl Rng) -> Self {
        let mut change = || strength * rng.random_range(-1.0_f32..=1.0);
        let contrast = change().exp();
        let brightness = 128.0 * change();
        let gain = [0; 3].map(|_| contrast * (0.5 * change()).exp());
        Self { gain, offset: gain.map(|g| 128.0 * (1.0 - g) + brightness), grey }
    }

    fn apply(&self, colour: [f32; 3]) -> [f32; 3] {
        let mut out = [0.0; 3];
        for (channel, value) in out.iter_mut().enumerate() {
            *value = (self.gain[channel] * colour[channel] + self.offset[channel]).clamp(0.0, 255.0);
        }
        // Luma of ITU-R BT.601.
        if self.grey { [0.299 * out[0] + 0.587 * out[1] + 0.114 * out[2]; 3] } else { out }
    }
}

/// A window into a texture image at a random place, scale, flip and quarter turn. Beyond its border
/// the image goes on mirrored, so that a texture of any size fills an image of any size.
struct TextureCrop {
    texture: RgbImage,
    transposed: bool,
    origin: [f32; 2],
    /// Texture pixels per pixel of the image; negative where flipped.
    step: [f32; 2],
}

impl TextureCrop {
    fn draw(texture: RgbImage, rng: &mut impl Rng) -> Self {
        let size = texture.size();
        let origin = [rng.random_range(0.0..size.height as f32), rng.random_range(0.0..size.width as f32)];
        let scale = rng.random_range(-1.0_f32..=1.0).exp2();
        let mut flip = || if rng.random() { scale } else { -scale };
        let step = [flip(), flip()];
        Self { texture, transposed: rng.random(), origin, step }
    }

    fn at(&self, y: usize, x: usize) -> [f32; 3] {
        let (y, x) = if self.transposed { (x, y) } else { (y, x) };
        let size = self.texture.size();
        let axis = |at: f32, n: usize| {
            let low = at.floor();
            (mirrored(low as isize, n), mirrored(low as isize + 1, n), at - low)
        };
        let (y0, y1, ty) = axis(self.origin[0] + self.step[0] * y as f32, size.height);
        let (x0, x1, tx) = axis(self.origin[1] + self.step[1] * x as f32, size.width);
        let corners = [(y0, x0), (y0, x1), (y1, x0), (y1, x1)].map(|(y, x)| self.texture.pixel(y, x));
        [0, 1, 2].map(|channel| {
            let [a, b, c, d] = corners.map(|corner| f32::from(corner[channel]));
            let (top, bottom) = (a + tx * (b - a), c + tx * (d - c));
            top + ty * (bottom - top)
        })
    }
}

/// The index in 0..n of position `i` on a line that repeats n pixels forth and back.
fn mirrored(i: isize, n: usize) -> usize {
    let i = i.rem_euclid(2 * n as isize) as usize;
    if i < n { i } else { 2 * n - 1 - i }
}

/// The image cut into a grid of patches that have changed places, each flipped and turned at
/// random. Where the grid does not divide the image, patches differ by a pixel and the last row or
/// column may repeat.
struct ShuffledPatches<'a> {
    image: &'a RgbImage,
    rows: Vec<Patch>,
    columns: Vec<Patch>,
    /// Grid row of every pixel row, and grid column of every pixel column.
    row_of: Vec<usize>,
    column_of: Vec<usize>,
    /// The origin of each patch.
    moves: Vec<Move>,
}

/// The extent of a grid row or column, in pixels.
#[derive(Clone, Copy)]
struct Patch {
    start: usize,
    length: usize,
}

struct Move {
    from: usize,
    flip_y: bool,
    flip_x: bool,
    transpose: bool,
}

impl<'a> ShuffledPatches<'a> {
    fn draw(image: &'a RgbImage, grid: usize, rng: &mut impl Rng) -> Self {
        let ImageSize { height, width } = image.size();
        let cut = |pixels: usize| -> (Vec<Patch>, Vec<usize>) {
            let n = grid.min(pixels);
            let edge = |i: usize| i * pixels / n;
            let patches = (0..n).map(|i| Patch { start: edge(i), length: edge(i + 1) - edge(i) });
            let owner = (0..n).flat_map(|i| vec![i; edge(i + 1) - edge(i)]);
            (patches.collect(), owner.collect())
        };
        let ((rows, row_of), (columns, column_of)) = (cut(height), cut(width));
        let mut order: Vec<usize> = (0..rows.len() * columns.len()).collect();
        order.shuffle(rng);
        // A patch that is not square cannot be turned by 90 degrees and still fill its place.
        let square = height * columns.len() == width * rows.len();
        let moves = order
            .into_iter()
            .map(|from| Move {
                from,
                flip_y: rng.random(),
                flip_x: rng.random(),
                transpose: square && rng.random(),
            })
            .collect();
        Self { image, rows, columns, row_of, column_of, moves }
    }

    fn at(&self, y: usize, x: usize) -> [f32; 3] {
        let (row, column) = (self.row_of[y], self.column_of[x]);
        let step = &self.moves[row * self.columns.len() + column];
        let (mut dy, mut dx) = (y - self.rows[row].start, x - self.columns[column].start);
        if step.transpose {
            (dy, dx) = (dx, dy);
        }
        let inside = |patch: Patch, d: usize, flip: bool| {
            let d = d.min(patch.length - 1);
            patch.start + if flip { patch.length - 1 - d } else { d }
        };
        let source_row = self.rows[step.from / self.columns.len()];
        let source_column = self.columns[step.from % self.columns.len()];
        let pixel =
            self.image.pixel(inside(source_row, dy, step.flip_y), inside(source_column, dx, step.flip_x));
        pixel.map(f32::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(height: usize, width: usize) -> RgbImage {
        RgbImage::from_fn(ImageSize::new(height, width), |y, x| {
            let n = y * width + x;
            [(n % 256) as u8, (n / 256) as u8, 7]
        })
    }

    fn shuffled(image: &RgbImage, grid: usize, seed: u64) -> Vec<[u8; 3]> {
        let patches = ShuffledPatches::draw(image, grid, &mut Seed::new(seed).rng());
        let ImageSize { height, width } = image.size();
        let at = |i: usize| patches.at(i / width, i % width).map(|v| v as u8);
        (0..height * width).map(at).collect()
    }

    #[test]
    fn shuffling_keeps_every_pixel_and_moves_most() {
        for (height, width, grid) in [(32, 32, 4), (16, 48, 8), (24, 24, 3)] {
            let image = numbered(height, width);
            let original: Vec<[u8; 3]> = image.data().chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect();
            let mut pixels = shuffled(&image, grid, 1);
            let moved = pixels.iter().zip(&original).filter(|(a, b)| a != b).count();
            assert!(moved * 2 > original.len(), "{moved}");
            let mut sorted = original.clone();
            sorted.sort_unstable();
            pixels.sort_unstable();
            assert_eq!(pixels, sorted);
        }
    }

    #[test]
    fn neighbours_stay_neighbours_within_a_patch() {
        let image = numbered(32, 32);
        let pixels = shuffled(&image, 4, 2);
        let number = |p: [u8; 3]| i32::from(p[0]) + 256 * i32::from(p[1]);
        for y in 0..32 {
            for x in (0..32).filter(|x| x % 8 != 7) {
                let step = number(pixels[y * 32 + x + 1]) - number(pixels[y * 32 + x]);
                assert!([1, -1, 32, -32].contains(&step), "({y}, {x}): {step}");
            }
        }
    }

    #[test]
    fn a_grid_that_does_not_divide_the_image_or_is_finer_than_it_still_fills_it() {
        for (height, width, grid) in [(33, 50, 8), (3, 70, 8), (1, 1, 64)] {
            let image = numbered(height, width);
            let known: std::collections::HashSet<&[u8]> = image.data().chunks_exact(3).collect();
            assert!(shuffled(&image, grid, 3).iter().all(|p| known.contains(&p[..])));
        }
    }

    #[test]
    fn mirroring_repeats_forth_and_back() {
        let indices: Vec<usize> = (-4..8).map(|i| mirrored(i, 3)).collect();
        assert_eq!(indices, [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1].map(|i: usize| i));
    }

    #[test]
    fn a_crop_at_scale_one_shows_the_texture_itself() {
        let crop =
            TextureCrop { texture: numbered(8, 8), transposed: false, origin: [2.0, 7.0], step: [1.0, -1.0] };
        assert_eq!(crop.at(3, 4).map(|v| v as u8), numbered(8, 8).pixel(5, 3));
        let half = TextureCrop { step: [0.5, -0.5], ..crop };
        assert_eq!(half.at(1, 0)[0], (2.0 * 8.0 + 7.0 + 3.0 * 8.0 + 7.0) / 2.0);
    }

    #[test]
    fn no_jitter_changes_nothing_and_grey_has_equal_channels() {
        let plain = Tone::draw(0.0, false, &mut Seed::new(1).rng());
        assert_eq!(plain.apply([0.0, 100.0, 255.0]), [0.0, 100.0, 255.0]);
        let grey = Tone::draw(0.5, true, &mut Seed::new(1).rng()).apply([10.0, 100.0, 200.0]);
        assert!(grey[0] == grey[1] && grey[1] == grey[2]);
    }
}
