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
//!
//! How a lab walks:
//!
//! 1. [`up`] takes a [`plan`], the model of a file, starts the [`dataplane`] in namespaces of its own ([`user_namespace`]
//!    when the caller is not root), and relays its events until the lab is ready.
//! 2. The [`dataplane`] makes each [`host`]: a [`netns`], its devices and addresses by [`netlink`], the sockets of its
//!    [`responders`]; then the switches, the [`control`] socket, and the controller, which the [`supervisor`] keeps alive.
//! 3. Commands find the lab by its [`runtime_dir`] and [`info`]: [`exec`](mod@exec) enters a host, [`client`] asks the API,
//!    [`capture`] writes what passes a port to a file.
//! 4. [`test`](mod@test) runs a file's expectations: each probe is real traffic from inside a host, judged by what was
//!    [`served`] and by which ways the switches saw it take. Programs of tests run [`contained`].
//!
//! [`doctor`] tells what of this a machine allows.

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
