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
use crate::flow::FlowSpec;
use crate::graph::Graph;
use crate::packets::PacketIns;
use crate::problem::FieldError;
use crate::spec::trace::{TraceAnswer, TraceRequest};
use crate::status::{
    DataplaneAddress, FlowView, HostView, LinkView, Metrics, OperState, PortCounters, PortView,
    SwitchView, TopologyView,
};
use crate::store::{Revision, StoreError};

mod entries;
mod sets;
mod shared;
mod trace;

pub use entries::{DeleteEntry, EntryView, PutEntry, PutEntryAnswer};
pub(crate) use entries::{RawEntry, entry_view, full_name};
pub(crate) use sets::FlowSet;
pub use sets::{
    ChangeKind, DeleteFlowSet, FlowChange, FlowSetView, PutFlowSet, PutFlowSetAnswer, SetFlow,
};
pub(crate) use shared::{Flow, Shared, State, SwitchEntry, flow_view};

/// A clone of it is the same controller.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// A write on its way to the controller's writer.
#[derive(Debug)]
pub(crate) enum Command {
    PutFlow(PutFlow, oneshot::Sender<Result<PutFlowAnswer, HandleError>>),
    DeleteFlow(
        DeleteFlow,
        oneshot::Sender<Result<DeleteAnswer, HandleError>>,
    ),
    PutFlowSet(
        PutFlowSet,
        oneshot::Sender<Result<PutFlowSetAnswer, HandleError>>,
    ),
    DeleteFlowSet(
        DeleteFlowSet,
        oneshot::Sender<Result<DeleteAnswer, HandleError>>,
    ),
    PutEntry(
        PutEntry,
        oneshot::Sender<Result<PutEntryAnswer, HandleError>>,
    ),
    DeleteEntry(
        DeleteEntry,
        oneshot::Sender<Result<DeleteAnswer, HandleError>>,
    ),
    PutLinkState(PutLinkState, oneshot::Sender<Result<LinkView, HandleError>>),
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

    /// Checks that the writer may change what `owner` made.
    pub(crate) fn check_owner(&self, name: &str, owner: Option<&str>) -> Result<(), HandleError> {
        match owner {
            Some(owner) if owner != self.owner && !self.force => Err(HandleError::OwnedByOther {
                name: name.to_owned(),
                owner: owner.to_owned(),
            }),
            _ => Ok(()),
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

/// A flow to declare.
#[derive(Clone, Debug, PartialEq)]
pub struct PutFlow {
    /// The switch.
    pub switch: String,
    /// The flow's name.
    pub name: String,
    /// What it says.
    pub spec: FlowSpec,
    /// Who writes, and how.
    pub context: WriteContext,
}

/// A flow to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteFlow {
    /// The switch.
    pub switch: String,
    /// The flow's name.
    pub name: String,
    /// Who writes, and how.
    pub context: WriteContext,
}

/// A link's declared state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutLinkState {
    /// The link's name, or one of its endpoints as `node:interface`.
    pub link: String,
    /// Up or down.
    pub state: OperState,
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

/// Answer to [`Handle::put_flow`].
#[derive(Clone, Debug, PartialEq)]
pub struct PutFlowAnswer {
    /// The flow as it is, or would be, stored.
    pub flow: FlowView,
    /// What the write did, or would do.
    pub outcome: WriteOutcome,
    /// Table entries on the switch that the write adds, changes and removes.
    pub diff: Diff,
}

/// Answer to [`Handle::delete_flow`].
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteAnswer {
    /// The revision without the object.
    pub revision: Revision,
    /// Table entries on the switch that the write removes.
    pub diff: Diff,
}

/// Which flows [`Handle::flows`] lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    /// Those of one switch.
    pub switch: Option<String>,
    /// Those of one owner.
    pub owner: Option<String>,
    /// Those with these labels.
    pub labels: BTreeMap<String, String>,
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

    /// Flows by switch and name, without counters.
    pub fn flows(&self, filter: &FlowFilter) -> Vec<FlowView> {
        self.shared.flows(filter)
    }

    /// One flow, without counters.
    pub fn flow(&self, switch: &str, name: &str) -> Result<FlowView, HandleError> {
        self.shared.flow(switch, name)
    }

    /// One flow with its live counters; they are left out when the switch does not answer.
    pub async fn flow_with_counters(
        &self,
        switch: &str,
        name: &str,
    ) -> Result<FlowView, HandleError> {
        self.shared.flow_with_counters(switch, name).await
    }

    /// Declares a flow. Saying the same again changes nothing.
    pub async fn put_flow(&self, request: PutFlow) -> Result<PutFlowAnswer, HandleError> {
        self.call(|reply| Command::PutFlow(request, reply)).await
    }

    /// Takes a flow back.
    pub async fn delete_flow(&self, request: DeleteFlow) -> Result<DeleteAnswer, HandleError> {
        self.call(|reply| Command::DeleteFlow(request, reply)).await
    }

    /// Names of all flow sets.
    pub fn flow_set_names(&self) -> Vec<String> {
        self.shared.flow_set_names()
    }

    /// One flow set, with its flows.
    pub fn flow_set(&self, name: &str) -> Result<FlowSetView, HandleError> {
        self.shared.flow_set(name)
    }

    /// Declares a flow set: these flows and no others, stored at once. Saying the same again changes nothing.
    pub async fn put_flow_set(&self, request: PutFlowSet) -> Result<PutFlowSetAnswer, HandleError> {
        self.call(|reply| Command::PutFlowSet(request, reply)).await
    }

    /// Takes a flow set back, with its flows.
    pub async fn delete_flow_set(
        &self,
        request: DeleteFlowSet,
    ) -> Result<DeleteAnswer, HandleError> {
        self.call(|reply| Command::DeleteFlowSet(request, reply))
            .await
    }

    /// The raw entries of a table that were declared, by name, without counters.
    pub fn entries(&self, switch: &str, table: &str) -> Result<Vec<EntryView>, HandleError> {
        self.shared.entries(switch, table)
    }

    /// One raw entry with its live counters; they are left out when the switch does not answer.
    pub async fn entry_with_counters(
        &self,
        switch: &str,
        table: &str,
        name: &str,
    ) -> Result<EntryView, HandleError> {
        self.shared
            .raw_entry_with_counters(switch, table, name)
            .await
    }

    /// Declares a raw entry. Saying the same again changes nothing.
    pub async fn put_entry(&self, request: PutEntry) -> Result<PutEntryAnswer, HandleError> {
        self.call(|reply| Command::PutEntry(request, reply)).await
    }

    /// Takes a raw entry back.
    pub async fn delete_entry(&self, request: DeleteEntry) -> Result<DeleteAnswer, HandleError> {
        self.call(|reply| Command::DeleteEntry(request, reply))
            .await
    }

    /// Declares a link up or down.
    pub async fn put_link_state(&self, request: PutLinkState) -> Result<LinkView, HandleError> {
        self.call(|reply| Command::PutLinkState(request, reply))
            .await
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
