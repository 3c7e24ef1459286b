//! The configuration engine: read a file into any options, check it whole,
//! say everything that is wrong at once, tell two configurations apart. The
//! built-in copy of `config/` is here too.
//!
//! What does not live here: the options themselves. Each room owns its own, with
//! `#[serde(deny_unknown_fields)]` and a [`Check`]; nor the exchange of one that is in
//! force, which is the gateway's.
//!
//! Must stay true: a configuration that is not whole is never given out; the value of a field whose name sounds secret (`passphrase`,
//! `key`, `secret`, …) is in no error, no difference and no log.

pub mod assets;
mod check;
mod diff;
mod explain;
mod load;
mod overlay;
mod source;

pub use check::{Check, Problem, Problems, Text};
pub use diff::{Change, Segment, apply, diff, is_secret};
pub use load::{LoadError, Loaded, load, load_checked, parse, parse_checked};
pub use overlay::{BadOverlay, Overlay};
pub use source::Source;
