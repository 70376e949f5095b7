//! The programmable switch.
//!
//! A switch executes a pipeline program ([`ir`]) that was pushed to it. The core is plain state machines: bytes and
//! `now` in, packets and events out; sockets, clocks and threads live in drivers around it.

pub mod ir;
