//! The promises of the store, on both engines, and what PostgreSQL adds: several
//! nodes, servers that die, lines that are cut. Every test starts what it needs
//! (`server`); a machine without PostgreSQL's programs fails, it does not skip.

mod durable;
mod encrypted;
mod failover;
mod lost_commit;
mod once;
mod server;
mod statements;
mod tampered;
mod two_nodes;
mod units;
mod world;
