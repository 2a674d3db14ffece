//! One file per route.

mod follow;
mod home;
mod shorten;

pub(super) use follow::follow;
pub(super) use home::home;
pub(super) use shorten::shorten;
