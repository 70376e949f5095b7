//! The controller: one writer over the store, one task for each switch, one for what the data plane observes.
//!
//! ```text
//!  handles ── commands ─►┐                      ┌─► mailbox ─► switch task ─► switch
//!  data plane ─ events ─►├ writer: store, state ┼─► mailbox ─► switch task ─► switch
//!  switch tasks ─ idle ─►┘   compile            └─► …
//! ```
//!
//! The writer holds the declared state, compiles it with what was observed, and posts the result; it never waits for a
//! switch.

mod inventory;
mod start;
mod writer;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use weft_proto::schema::SchemaError;

use crate::compile::FabricError;
use crate::model::Model;
use crate::southbound::PipelineConfig;
use crate::status::DataplaneAddress;
use crate::store::{Store, StoreError};

pub use start::start;

/// What a controller is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The topology.
    pub model: Arc<Model>,
    /// The pipeline of all switches.
    pub pipeline: PipelineConfig,
    /// Where declared state is.
    pub store: Arc<dyn Store>,
    /// The way to the data plane; see [`crate::southbound`].
    pub southbound: Channel,
    /// The same as people read it.
    pub address: DataplaneAddress,
    /// Ends the controller.
    pub cancel: CancellationToken,
}

/// Why a controller does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store failed.
    #[error("store cannot be used")]
    Store(#[from] StoreError),
    /// The pipeline's P4Info is not consistent.
    #[error("pipeline cannot be used")]
    Pipeline(#[from] SchemaError),
    /// The fabric cannot be compiled for this model and pipeline.
    #[error("fabric cannot be compiled")]
    Fabric(#[from] FabricError),
}
