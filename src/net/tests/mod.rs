//! The edge over real sockets: who is let in, what is refused, and that reload
//! and drain cut nobody's call.

mod admission;
mod calls;
mod exchange;
mod pki;
mod world;
