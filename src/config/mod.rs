//! The configuration engine: read a file into any options, check it whole,
//! say everything that is wrong at once, tell two configurations apart, take a
//! new one without dropping a call. The built-in copy of `config/` is here too.
//!
//! What does not live here: the options themselves. Each room owns its own, with
//! `#[serde(deny_unknown_fields)]` and a [`Check`].
//!
//! Must stay true: a configuration that is not whole is never taken, the one
//! before stays; the value of a field whose name sounds secret (`passphrase`,
//! `key`, `secret`, …) is in no error, no difference and no log.

pub mod assets;
mod check;
mod diff;
mod explain;
mod live;
mod load;
mod overlay;
mod reload;
mod source;

pub use check::{Check, Problem, Problems, Text};
pub use diff::{Change, Segment, apply, diff, is_secret};
pub use live::{Live, Taken};
pub use load::{LoadError, Loaded, load, load_checked, parse, parse_checked};
pub use overlay::{BadOverlay, Overlay};
pub use reload::{Candidate, ReloadHandle, ReloadOptions, ReloadReport, Reloader, ReloaderGone};
pub use source::Source;
