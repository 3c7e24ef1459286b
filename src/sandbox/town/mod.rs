//! The town: three federated gateways as processes on this machine, with what
//! they need around them.
//!
//! [`TownPlan`] says which ports and how many people; [`Prepared`] is the data
//! folder with keys, certificates, configuration and cards; [`RunningTown`] holds
//! the gateways' processes and the simulated libraries and insurers; [`table`] tells
//! people what there is and what to type. Not here: how a gateway serves (the command
//! line's `serve`, which is started as a process like in production) and the
//! story of a day (`tour`).

mod configuration;
mod launch;
mod lock;
mod plan;
mod prepare;
mod run;
pub mod table;

pub use launch::{LaunchError, Launcher};
pub use lock::{FolderLock, FolderLockError};
pub use plan::{PortTaken, RegionPlan, TownPlan};
pub use prepare::{PrepareError, Prepared};
pub use run::RunningTown;
