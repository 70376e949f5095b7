//! Compiling what users declared to what each switch must hold, and the difference to what it holds.
//!
//! Everything here is a pure function of values: [`Desired`] is computed, never stored; [`diff`] turns two states
//! into a staged [`Plan`] that leaves the executor no choice.

mod diff;
mod explain;
mod fabric;
mod fabric_names;
mod owner;
mod spf;
mod state;

pub use diff::{Change, Plan, Subject, Update, apply, diff};
pub use explain::{Part, Purpose, explain};
pub use fabric::{FABRIC_GROUPS_END, Fabric, FabricError, GATEWAY_MAC, node_label};
pub use fabric_names::MissingName;
pub(crate) use owner::fnv1a;
pub use owner::{Owner, OwnerTag};
pub use state::{Conflict, DefaultEntry, Desired, Entry, MeterKey, Observed};
pub(crate) use state::{default_entry, table_entry};
