use fmam_core::Seed;

use super::key_pattern::matches_any;
use crate::layers::{Encoder, ReversePath};
use crate::{ModelError, Params, Preprocess};

/// A backbone: its facts as data, and the functions that build its networks.
///
/// Tests walk [`crate::BACKBONES`] and hold each specification against the networks that it
/// describes. A program outside of this workspace writes its own one in the same way, from the
/// blocks in [`crate::layers`], and passes it on as `&'static`.
pub struct BackboneSpec {
    /// The name that a user gives.
    pub name: &'static str,
    /// One line for a list of backbones.
    pub summary: &'static str,
    /// Channels of each scale, finest first.
    pub channels: &'static [usize],
    /// Pixels of the image per feature position at each scale, finest first.
    pub strides: &'static [usize],
    /// The input scaling that the weights were trained with.
    pub preprocess: Preprocess,
    /// The source of the weights when no file is given.
    pub weights: Weights,
    /// True where features are signed, because no ReLU follows them.
    pub has_signed_features: bool,
    /// Height and width in pixels that an image may have at most; `None` for any.
    pub largest_side: Option<usize>,
    /// Upper bound of the relative error of each scale when the network computes in bf16; `None`
    /// for a network that computes in f32 whatever precision is asked for.
    pub bf16_error: Option<f64>,
    /// The place of the encoder's last block among its parameters: the block that gives the
    /// coarsest scale from an input of its own size.
    pub last_block: &'static str,
    /// Tensors of the published checkpoint that features do not need, where `{a,b}` stands for `a`
    /// or `b`. Any other surplus tensor is refused. The counters `num_batches_tracked` follow from
    /// the normalisation that they belong to.
    pub unused_keys: &'static [&'static str],
    /// Parameters of the students that no loss depends on: biases before a 1x1 convolution whose
    /// normalisation takes them out again.
    pub idle_parameters: &'static [&'static str],
    /// The network from image to features: frozen the teacher, trainable the symmetric student.
    pub encoder: fn(&Params) -> Result<Box<dyn Encoder>, ModelError>,
    /// The students that the backbone has.
    pub students: Students,
}

/// The source of a backbone's weights when no file is given.
#[derive(Debug, Clone, Copy)]
pub enum Weights {
    /// A safetensors file inside the program.
    Embedded(&'static [u8]),
    /// A random draw, always the same: features without meaning, for smoke tests.
    Seeded(Seed),
    /// None: a file must be given. Published weights can be fetched.
    File(Option<PublishedWeights>),
}

/// Weights that somebody published for a backbone.
#[derive(Debug, Clone, Copy)]
pub struct PublishedWeights {
    /// The network and its training.
    pub title: &'static str,
    /// The address of the file.
    pub url: &'static str,
    /// SHA-256 of the file: 64 hexadecimal digits, or the first 8 where the publisher puts no more
    /// into the file's name.
    pub sha256: &'static str,
    /// SPDX identifier of the licence.
    pub licence: &'static str,
}

/// The students of a backbone.
#[derive(Debug, Clone, Copy)]
pub enum Students {
    /// None: the network cannot be trained and passes no gradients.
    None,
    /// The symmetric student and the reverse path that follows from channels and strides.
    Mirrored,
    /// The symmetric student and a reverse path of the backbone's own.
    Own(fn(&Params) -> Result<ReversePath, ModelError>),
}

impl BackboneSpec {
    /// True for a backbone that can be trained; another one has no student, no cloner and no
    /// gradients.
    pub fn has_students(&self) -> bool {
        !matches!(self.students, Students::None)
    }

    /// True where the published checkpoint has the tensor `key` for a part that features do not
    /// need.
    pub(crate) fn is_unused_key(&self, key: &str) -> bool {
        matches_any(self.unused_keys, key)
    }

    /// The network from features to features.
    ///
    /// # Errors
    /// [`ModelError::NoStudent`], and as [`Params::get`].
    pub(crate) fn reverse_path(&self, params: &Params) -> Result<ReversePath, ModelError> {
        match self.students {
            Students::None => Err(ModelError::NoStudent { backbone: self.name.to_owned() }),
            Students::Mirrored => ReversePath::mirroring(self.channels, self.has_signed_features, params),
            Students::Own(reverse_path) => reverse_path(params),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BACKBONES;

    #[test]
    fn strides_double_where_the_reverse_path_follows_from_them() {
        for spec in BACKBONES.iter().filter(|spec| matches!(spec.students, Students::Mirrored)) {
            assert!(
                spec.strides.windows(2).all(|pair| pair[1] == 2 * pair[0]),
                "{}: strides {:?} do not double from scale to scale, so its specification needs a reverse path \
                 of its own (`Students::Own`) or no students",
                spec.name,
                spec.strides
            );
        }
    }
}
