//! The built-in fabric, compiled from a model and run in process: what hosts send, and what reaches whom.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test"
)]

mod bridging;
mod compiled;
mod counters;
mod flows;
mod frames;
mod hostile;
mod icmp;
mod ipv6;
mod lab;
mod paths;
mod random;
mod routing;
mod topologies;
mod trace;
