//! The gateway's flows over a real store, a real vault and a clock that tests
//! turn. Peers and libraries are fakes that say what a test tells them to.

mod caps;
mod cards;
mod deny;
mod erase;
mod import;
mod insurer;
mod kept;
mod library;
mod medical;
mod money;
mod reconcile;
pub(crate) mod rig;
mod taps;
mod tasks;
mod uploads;
