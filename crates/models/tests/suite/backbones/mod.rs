//! The promises of every registered backbone, checked by a walk over `BACKBONES`, and a few of
//! single ones.
//!
//! With the environment variable `FMAM_BACKBONE=NAME` the walks take only the backbone NAME.

use fmam_models::{BACKBONES, BackboneSpec};

#[cfg(feature = "dinov2")]
mod dinov2;
mod fixture;
mod parity;
mod precision;
mod specification;
mod students;

pub(crate) use fixture::{state_dict, teacher};
pub(crate) use students::{
    assert_every_parameter_learns, assert_same, distance_to_noise, largest_gradients, squares,
};

/// The backbone called `name`.
pub(crate) fn named(name: &str) -> &'static BackboneSpec {
    BACKBONES.iter().find(|spec| spec.name == name).unwrap_or_else(|| panic!("no backbone is called {name}"))
}

/// Every backbone, or the one that `FMAM_BACKBONE` names.
fn registered() -> impl Iterator<Item = &'static BackboneSpec> {
    let only = std::env::var("FMAM_BACKBONE").ok();
    let only = only.filter(|name| !name.is_empty()).map(|name| named(&name).name);
    BACKBONES.iter().copied().filter(move |spec| only.is_none_or(|name| spec.name == name))
}

/// The backbones of [`registered`] that have students.
pub(crate) fn trainable() -> impl Iterator<Item = &'static BackboneSpec> {
    registered().filter(|spec| spec.has_students())
}
