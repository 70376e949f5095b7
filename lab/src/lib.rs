//! Builds a lab from real packets, keeps it running, and runs its tests.
//!
//! A lab is two processes. The *data plane* is PID 1 of a PID namespace of its own; it holds the hosts (anonymous
//! network namespaces), the switches and the built-in responders, and starts the *controller* inside the same PID
//! namespace. When the data plane ends, however it ends, the kernel ends the rest. A running lab is known by a
//! [runtime directory](runtime_dir) whose lock file the data plane holds.
//!
//! ```text
//!   weft up ──spawns──▶ data plane (PID 1) ──spawns, restarts──▶ controller ◀── REST
//!      ◀── events (pipe) ──┘   hosts, switches, lab.sock   ◀──P4Runtime──┘
//! ```

pub mod capture;
pub mod client;
pub mod contained;
pub mod control;
pub mod controller;
pub mod dataplane;
pub mod doctor;
pub mod exec;
pub mod host;
pub mod info;
pub mod limits;
pub mod netlink;
pub mod netns;
pub mod plan;
pub mod process;
pub mod programs;
pub mod responders;
pub mod runtime_dir;
pub mod served;
pub mod supervisor;
pub mod test;
pub mod up;
pub mod user_namespace;
