//! The way into a running controller: what the API, the command line and tests call.
//!
//! Reads answer from what the controller knows now. Writes are sent to its one writer, which validates, stores and
//! compiles; they return when the store has them, and [`Handle::wait_realized`] returns when the switch has them too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use weft_proto::schema::Schema;

use crate::audit::{SwitchDiff, Wanted};
use crate::graph::Graph;
use crate::packets::PacketIns;
use crate::problem::FieldError;
use crate::resource::{Kind, Place};
use crate::spec::trace::{TraceAnswer, TraceRequest};
use crate::status::{
    DataplaneAddress, HostView, LinkView, Metrics, PortCounters, PortView, SwitchView, TopologyView,
};
use crate::store::{Revision, StoreError};

mod apply;
mod pipelines;
mod resources;
mod shared;
mod trace;

pub use apply::{Apply, ApplyAnswer};
pub use pipelines::{DeclaredPipeline, DeletePipeline, PipelineView, PutPipeline};
pub(crate) use resources::not_found;
pub use resources::{
    ChangeKind, DeleteResource, PutAnswer, PutResource, ResourceChange, ResourceView,
};
pub(crate) use shared::{Shared, State, SwitchEntry};

/// A clone of it is the same controller.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// A write on its way to the controller's writer.
#[derive(Debug)]
pub(crate) enum Command {
    Put(PutResource, oneshot::Sender<Result<PutAnswer, HandleError>>),
    Apply(
        Box<Apply>,
        oneshot::Sender<Result<ApplyAnswer, HandleError>>,
    ),
    Delete(
        DeleteResource,
        oneshot::Sender<Result<DeleteAnswer, HandleError>>,
    ),
    PutPipeline(
        PutPipeline,
        oneshot::Sender<Result<(PipelineView, WriteOutcome), HandleError>>,
    ),
    DeletePipeline(
        DeletePipeline,
        oneshot::Sender<Result<Revision, HandleError>>,
    ),
    PatchLink(PatchLink, oneshot::Sender<Result<LinkView, HandleError>>),
    Wanted(String, oneshot::Sender<Result<Wanted, HandleError>>),
}

/// Who writes, and under which conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteContext {
    /// Who will own what is made.
    pub owner: String,
    /// The revisions of the object that the writer accepts (`If-Match`); `None`: any, or none.
    pub if_match: Option<IfMatch>,
    /// Refuse when the object exists (`If-None-Match: *`).
    pub only_create: bool,
    /// Validate, compile and compare only.
    pub dry_run: bool,
    /// Take over what another owner made.
    pub force: bool,
}

impl WriteContext {
    /// Checks the conditions on the object's revision; `None`: there is no such object.
    pub(crate) fn check_revision(&self, current: Option<Revision>) -> Result<(), HandleError> {
        let holds = match (&self.if_match, current) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(IfMatch::Any), Some(_)) => true,
            (Some(IfMatch::OneOf(wanted)), Some(current)) => wanted.contains(&current),
        };
        if holds && !(self.only_create && current.is_some()) {
            Ok(())
        } else {
            Err(HandleError::PreconditionFailed { current })
        }
    }
}

/// The `If-Match` condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// The object exists.
    Any,
    /// The object's revision is one of these.
    OneOf(Vec<Revision>),
}

/// What changes of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchLink {
    /// The link's name, or one of its endpoints as `node:interface`.
    pub link: String,
    /// A merge patch of `state`, `metric`, `srlgs`, `capacity` and `impair`.
    pub change: serde_json::Value,
    /// Who writes, and how.
    pub context: WriteContext,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The object is new.
    Created,
    /// The object changed.
    Updated,
    /// It said this already.
    Unchanged,
}

/// Numbers of objects that a write adds, changes, removes, and leaves alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Diff {
    /// New.
    pub add: usize,
    /// Changed.
    pub change: usize,
    /// Removed.
    pub remove: usize,
    /// As they were.
    pub unchanged: usize,
}

/// Answer to [`Handle::delete`].
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteAnswer {
    /// The revision without the object.
    pub revision: Revision,
    /// Numbers of what goes with it; see [`PutAnswer::diff`].
    pub diff: Diff,
}

/// Why a call did nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HandleError {
    /// There is no such thing.
    #[error("no {kind} {name}")]
    NotFound {
        /// `switch`, `flow`, …
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The body does not fit.
    #[error("{} mistakes in the body", errors.len())]
    Invalid {
        /// Each mistake.
        errors: Vec<FieldError>,
    },
    /// `If-Match` or `If-None-Match` did not hold.
    #[error("the object is at another revision")]
    PreconditionFailed {
        /// The object's revision; `None`: it does not exist.
        current: Option<Revision>,
    },
    /// Somebody else made the object.
    #[error("{name} is owned by {owner}")]
    OwnedByOther {
        /// The object.
        name: String,
        /// Its owner.
        owner: String,
    },
    /// Another object says something else about the same packets.
    #[error("{detail}")]
    Conflict {
        /// What clashes.
        detail: String,
        /// The other object.
        with: String,
    },
    /// The store failed.
    #[error("not stored")]
    Store(#[from] StoreError),
    /// The switch is away, or did not answer.
    #[error("{switch} does not answer: {detail}")]
    SwitchUnavailable {
        /// The switch.
        switch: String,
        /// What happened.
        detail: String,
    },
    /// The controller is ending.
    #[error("the controller is ending")]
    Stopped,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Nodes and links.
    pub fn topology(&self) -> TopologyView {
        self.shared.topology()
    }

    /// The newest revision that this controller knows.
    pub fn revision(&self) -> Revision {
        self.shared.revision()
    }

    /// All switches, by name.
    pub fn switches(&self) -> Vec<SwitchView> {
        self.shared.switches()
    }

    /// One switch.
    pub fn switch(&self, name: &str) -> Result<SwitchView, HandleError> {
        self.shared.switch(name)
    }

    /// Where the data plane's P4Runtime server is.
    pub fn dataplane_address(&self) -> DataplaneAddress {
        self.shared.address.clone()
    }

    /// The ports of a switch by number, without counters.
    pub fn ports(&self, switch: &str) -> Result<Vec<PortView>, HandleError> {
        self.shared.ports(switch)
    }

    /// Counters of all ports of a switch by port number, asked from the switch.
    pub async fn port_counters(
        &self,
        switch: &str,
    ) -> Result<BTreeMap<u32, PortCounters>, HandleError> {
        self.shared.port_counters(switch).await
    }

    /// All links, by name.
    pub fn links(&self) -> Vec<LinkView> {
        self.shared.links()
    }

    /// One link, by its name or by either endpoint `node:interface`.
    pub fn link(&self, name: &str) -> Result<LinkView, HandleError> {
        self.shared.link(name)
    }

    /// The topology for path computation, with links as they are now.
    pub fn graph(&self) -> Arc<Graph> {
        self.shared.graph()
    }

    /// All hosts, by name.
    pub fn hosts(&self) -> Vec<HostView> {
        self.shared.hosts()
    }

    /// One host.
    pub fn host(&self, name: &str) -> Result<HostView, HandleError> {
        self.shared.host(name)
    }

    /// What a switch's pipeline can match and do.
    pub fn pipeline(&self, switch: &str) -> Result<Arc<Schema>, HandleError> {
        self.shared.pipeline(switch)
    }

    /// The same, with what was declared and how far it has come.
    pub fn pipeline_view(&self, switch: &str) -> Result<PipelineView, HandleError> {
        self.shared.pipeline_view(switch)
    }

    /// Declares a switch's pipeline. Saying the same again changes nothing.
    pub async fn put_pipeline(
        &self,
        request: PutPipeline,
    ) -> Result<(PipelineView, WriteOutcome), HandleError> {
        self.call(|reply| Command::PutPipeline(request, reply))
            .await
    }

    /// Gives a switch the built-in pipeline back.
    pub async fn delete_pipeline(&self, request: DeletePipeline) -> Result<Revision, HandleError> {
        self.call(|reply| Command::DeletePipeline(request, reply))
            .await
    }

    /// Waits until a switch runs its pipeline and holds what it shall, or has refused it; false when `deadline` passed
    /// first.
    pub async fn wait_pipeline(
        &self,
        switch: &str,
        deadline: Duration,
    ) -> Result<bool, HandleError> {
        self.shared.wait_pipeline(switch, deadline).await
    }

    /// Where a resource is: one name for each of its kind's parents, which have to exist, then its own.
    pub fn place(&self, kind: Kind, names: &[&str]) -> Result<Place, HandleError> {
        self.shared.place(kind, names)
    }

    /// Resources of a kind by place, without counters; `parents` narrows them to those of a switch, a table.
    pub fn resources(&self, kind: Kind, parents: &[&str]) -> Vec<ResourceView> {
        self.shared.resources(kind, parents)
    }

    /// One resource, without counters.
    pub fn resource(&self, place: &Place) -> Result<ResourceView, HandleError> {
        self.shared.resource(place)
    }

    /// One resource with its live counters; they are left out when the switch does not answer.
    pub async fn resource_with_counters(&self, place: &Place) -> Result<ResourceView, HandleError> {
        self.shared.resource_with_counters(place).await
    }

    /// Declares a resource, with all that it makes. Saying the same again changes nothing.
    pub async fn put(&self, request: PutResource) -> Result<PutAnswer, HandleError> {
        self.call(|reply| Command::Put(request, reply)).await
    }

    /// Takes a resource back, with all that it made.
    pub async fn delete(&self, request: DeleteResource) -> Result<DeleteAnswer, HandleError> {
        self.call(|reply| Command::Delete(request, reply)).await
    }

    /// Changes what is declared of a link. It returns when the data plane has taken it down or up, if that was asked.
    pub async fn patch_link(&self, request: PatchLink) -> Result<LinkView, HandleError> {
        self.call(|reply| Command::PatchLink(request, reply)).await
    }

    /// Waits until a switch has committed everything up to `revision`; false when `deadline` passed first.
    pub async fn wait_realized(
        &self,
        switch: &str,
        revision: Revision,
        deadline: Duration,
    ) -> Result<bool, HandleError> {
        self.shared.wait_realized(switch, revision, deadline).await
    }

    /// Compares what a switch must hold with what it holds now, read from it for this.
    pub async fn switch_diff(&self, switch: &str) -> Result<SwitchDiff, HandleError> {
        self.shared.switch(switch)?;
        let wanted = self
            .call(|reply| Command::Wanted(switch.to_owned(), reply))
            .await?;
        self.shared.switch_diff(switch, &wanted).await
    }

    /// Says what would become of a host's packet by the switches' state as it is. Nothing is sent.
    pub async fn trace(&self, request: &TraceRequest) -> Result<TraceAnswer, HandleError> {
        self.shared.trace(request).await
    }

    /// Has a switch read, compared and repaired now. Deletes that were held happen, and what was refused is tried again.
    /// True when that was done before `deadline` passed.
    pub async fn sync(&self, switch: &str, deadline: Duration) -> Result<bool, HandleError> {
        self.shared.sync(switch, deadline).await
    }

    /// Sends a packet through a switch; `metadata` has a value for each field that the pipeline declares. It returns when
    /// the packet is on its way; whether the switch could do what was asked, its counters tell.
    pub async fn send_packet(
        &self,
        switch: &str,
        metadata: Vec<u128>,
        payload: bytes::Bytes,
    ) -> Result<(), HandleError> {
        self.shared.send_packet(switch, metadata, payload).await
    }

    /// Packets that switches sent after the one with id `since`, oldest first and at most `limit`; waits for some for
    /// as long as `patience`.
    pub async fn packet_ins(
        &self,
        since: u64,
        switch: Option<&str>,
        limit: usize,
        patience: Duration,
    ) -> PacketIns {
        self.shared.packet_ins(since, switch, limit, patience).await
    }

    /// Waits until every switch that is connected has committed all that is desired now; false when `deadline` passed
    /// first.
    pub async fn wait_settled(&self, deadline: Duration) -> bool {
        self.shared.wait_settled(deadline).await
    }

    /// True while every switch has been brought to its desired state and every link was reported.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.shared.ready.clone()
    }

    /// Numbers for monitoring.
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics()
    }

    async fn call<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, HandleError>>) -> Command,
    ) -> Result<T, HandleError> {
        let (reply, answer) = oneshot::channel();
        self.shared
            .commands
            .send(command(reply))
            .await
            .map_err(|_| HandleError::Stopped)?;
        answer.await.map_err(|_| HandleError::Stopped)?
    }
}
