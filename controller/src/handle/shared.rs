//! What a controller shows to its handles: the declared state with its one writer, and each switch's status.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tonic::transport::Channel;
use weft_proto::node::v1 as node;
use weft_proto::node::v1::node_client::NodeClient;
use weft_proto::schema::Schema;
use weft_proto::vocab::DeviceId;

use super::{Command, HandleError};
use crate::audit::{self, SwitchDiff, Wanted};
use crate::graph::Graph;
use crate::model::Model;
use crate::packets::{PacketIns, PacketLog, PacketOut};
use crate::pipeline::Pipelines;
use crate::reconcile::Mailbox;
use crate::resource::{Kind, Resources};
use crate::southbound::{SwitchClient, SwitchState};
use crate::status::{
    Condition, ConditionType, DataplaneAddress, HostView, LinkView, Metrics, NodeView,
    PortCounters, PortView, Rejection, SwitchStatus, SwitchView, TopologyView,
};
use crate::store::Revision;

/// How long a complete read of a switch may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a switch's task may take to hand over a packet.
const PACKET_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that handles read.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) ready: watch::Receiver<bool>,
    pub(crate) address: DataplaneAddress,
    pub(crate) channel: Channel,
    pub(crate) model: Arc<Model>,
    pub(crate) name: String,
    pub(crate) fabric: &'static str,
    pub(crate) nodes: Vec<NodeView>,
    pub(crate) hosts: BTreeMap<String, HostView>,
    pub(crate) switches: BTreeMap<String, SwitchEntry>,
    pub(crate) packets: Arc<PacketLog>,
    /// Written by the controller's writer only; never held across an await.
    pub(crate) state: RwLock<State>,
}

/// A switch as handles see it.
#[derive(Debug)]
pub(crate) struct SwitchEntry {
    pub(crate) device: DeviceId,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) pipelines: Pipelines,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) packets: mpsc::Sender<PacketOut>,
    pub(crate) status: watch::Receiver<Arc<SwitchStatus>>,
}

/// What changes while the controller runs.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    pub(crate) links: BTreeMap<String, LinkView>,
    pub(crate) ports: BTreeMap<String, BTreeMap<u32, PortView>>,
    pub(crate) resources: Resources,
    pub(crate) boot_ids: BTreeMap<String, String>,
    /// The topology with links as they are, declared and observed.
    pub(crate) graph: Arc<Graph>,
}

impl SwitchEntry {
    /// The published status. Revisions that changed nothing on this switch are reached as soon as they exist.
    pub(crate) fn status(&self, newest: Revision) -> SwitchStatus {
        let posted = self.mailbox.generation();
        let mut status = SwitchStatus::clone(&self.status.borrow());
        status.desired_revision = status.desired_revision.max(newest);
        status.desired_generation = posted;
        if status.reconciled && status.observed_generation == posted {
            status.observed_revision = status.observed_revision.max(newest);
        }
        status
    }
}

impl Shared {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn entry(&self, switch: &str) -> Result<&SwitchEntry, HandleError> {
        self.switches
            .get(switch)
            .ok_or_else(|| HandleError::NotFound {
                kind: "switch",
                name: switch.to_owned(),
            })
    }

    pub(crate) fn revision(&self) -> Revision {
        self.read().revision
    }

    pub(crate) fn topology(&self) -> TopologyView {
        let state = self.read();
        TopologyView {
            name: self.name.clone(),
            fabric: self.fabric,
            nodes: self.nodes.clone(),
            links: state.links.values().cloned().collect(),
            revision: state.revision,
        }
    }

    pub(crate) fn switches(&self) -> Vec<SwitchView> {
        self.switches
            .iter()
            .map(|(name, entry)| self.switch_view(name, entry))
            .collect()
    }

    pub(crate) fn switch(&self, name: &str) -> Result<SwitchView, HandleError> {
        Ok(self.switch_view(name, self.entry(name)?))
    }

    fn switch_view(&self, name: &str, entry: &SwitchEntry) -> SwitchView {
        let state = self.read();
        let mut status = entry.status(state.revision);
        status.boot_id = state.boot_ids.get(name).cloned().unwrap_or_default();
        SwitchView {
            name: name.to_owned(),
            device_id: entry.device.0,
            labels: entry.labels.clone(),
            ports: state.ports.get(name).map_or(0, BTreeMap::len),
            status,
        }
    }

    pub(crate) fn ports(&self, switch: &str) -> Result<Vec<PortView>, HandleError> {
        self.entry(switch)?;
        Ok(self
            .read()
            .ports
            .get(switch)
            .map(|ports| ports.values().cloned().collect())
            .unwrap_or_default())
    }

    pub(crate) async fn port_counters(
        &self,
        switch: &str,
    ) -> Result<BTreeMap<u32, PortCounters>, HandleError> {
        let device_id = self.entry(switch)?.device.0;
        let answer = NodeClient::new(self.channel.clone())
            .get_port_counters(node::GetPortCountersRequest { device_id })
            .await
            .map_err(|error| unavailable(switch, error.message()))?;
        Ok(answer
            .into_inner()
            .ports
            .into_iter()
            .map(|counter| (counter.port, counters(counter)))
            .collect())
    }

    pub(crate) fn links(&self) -> Vec<LinkView> {
        self.read().links.values().cloned().collect()
    }

    pub(crate) fn link(&self, name: &str) -> Result<LinkView, HandleError> {
        let state = self.read();
        state
            .links
            .get(name)
            .or_else(|| {
                let (node, interface) = name.split_once(':')?;
                state.links.values().find(|link| {
                    link.endpoints
                        .iter()
                        .any(|end| end.node == node && end.interface == interface)
                })
            })
            .cloned()
            .ok_or_else(|| HandleError::NotFound {
                kind: "link",
                name: name.to_owned(),
            })
    }

    pub(crate) fn hosts(&self) -> Vec<HostView> {
        self.hosts.values().cloned().collect()
    }

    pub(crate) fn host(&self, name: &str) -> Result<HostView, HandleError> {
        self.hosts
            .get(name)
            .cloned()
            .ok_or_else(|| HandleError::NotFound {
                kind: "host",
                name: name.to_owned(),
            })
    }

    pub(crate) fn pipeline(&self, switch: &str) -> Result<Arc<Schema>, HandleError> {
        Ok(self.entry(switch)?.pipelines.schema())
    }

    pub(crate) fn graph(&self) -> Arc<Graph> {
        Arc::clone(&self.read().graph)
    }

    pub(crate) async fn wait_realized(
        &self,
        switch: &str,
        revision: Revision,
        deadline: Duration,
    ) -> Result<bool, HandleError> {
        let entry = self.entry(switch)?;
        let mut status = entry.status.clone();
        // All that was posted so far includes everything up to any revision that exists.
        let posted = entry.mailbox.generation();
        let exists = revision <= self.revision();
        let reached = status.wait_for(|status| {
            status.observed_revision >= revision
                || exists && status.reconciled && status.observed_generation >= posted
        });
        match tokio::time::timeout(deadline, reached).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(_)) => Err(HandleError::Stopped),
            Err(_) => Ok(false),
        }
    }

    pub(crate) async fn switch_diff(
        &self,
        switch: &str,
        wanted: &Wanted,
    ) -> Result<SwitchDiff, HandleError> {
        let entry = self.entry(switch)?;
        let mut client = SwitchClient::new(self.channel.clone(), entry.device);
        let schema = entry.pipelines.schema();
        let read = client.read_all(&schema);
        let state = match tokio::time::timeout(READ_TIMEOUT, read).await {
            Ok(Ok(state)) => state,
            // Without a pipeline there is nothing to hold.
            Ok(Err(status)) if status.code() == tonic::Code::FailedPrecondition => {
                SwitchState::default()
            }
            Ok(Err(status)) => return Err(unavailable(switch, status.message())),
            Err(_) => return Err(unavailable(switch, "the read takes too long")),
        };
        Ok(audit::compare(&schema, wanted, state))
    }

    pub(crate) async fn sync(&self, switch: &str, deadline: Duration) -> Result<bool, HandleError> {
        let entry = self.entry(switch)?;
        let mut status = entry.status.clone();
        let asked = entry
            .mailbox
            .post(Revision::default(), |news| news.sync = true);
        let done = status.wait_for(|status| {
            status.connected && status.reconciled && status.observed_generation >= asked
        });
        match tokio::time::timeout(deadline, done).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(_)) => Err(HandleError::Stopped),
            Err(_) => Ok(false),
        }
    }

    pub(crate) async fn send_packet(
        &self,
        switch: &str,
        metadata: Vec<u128>,
        payload: bytes::Bytes,
    ) -> Result<(), HandleError> {
        let entry = self.entry(switch)?;
        if !entry.status.borrow().connected {
            return Err(unavailable(switch, "this controller is not its primary"));
        }
        let (sent, done) = oneshot::channel();
        let packet = PacketOut {
            metadata,
            payload,
            sent,
        };
        let hand_over = async {
            entry.packets.send(packet).await.ok()?;
            done.await.ok()
        };
        match tokio::time::timeout(PACKET_TIMEOUT, hand_over).await {
            Ok(Some(())) => Ok(()),
            _ => Err(unavailable(switch, "the packet was not taken")),
        }
    }

    pub(crate) async fn packet_ins(
        &self,
        since: u64,
        switch: Option<&str>,
        limit: usize,
        patience: Duration,
    ) -> PacketIns {
        let mut newest = self.packets.newest();
        let found = async {
            loop {
                newest.mark_unchanged();
                let found = self.packets.after(since, switch, limit);
                if !found.packets.is_empty() || newest.changed().await.is_err() {
                    return found;
                }
            }
        };
        match tokio::time::timeout(patience, found).await {
            Ok(found) => found,
            Err(_) => self.packets.after(since, switch, limit),
        }
    }

    pub(crate) async fn wait_settled(&self, deadline: Duration) -> bool {
        let all = async {
            for entry in self.switches.values() {
                let posted = entry.mailbox.generation();
                let settled = |status: &Arc<SwitchStatus>| {
                    !status.connected || status.observed_generation >= posted
                };
                if entry.status.clone().wait_for(settled).await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(deadline, all).await.unwrap_or(false)
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let state = self.read();
        let switches = self
            .switches
            .iter()
            .map(|(name, entry)| (name.clone(), entry.status(state.revision)))
            .collect();
        Metrics {
            switches,
            flows: state.resources.under(Kind::Flow, &[]).count(),
            revision: state.revision,
        }
    }
}

pub(super) fn unavailable(switch: &str, detail: &str) -> HandleError {
    HandleError::SwitchUnavailable {
        switch: switch.to_owned(),
        detail: detail.to_owned(),
    }
}

pub(super) fn rejection(rejection: &Rejection) -> Condition {
    rejected(format!(
        "{}: {} (tried {} times)",
        rejection.code, rejection.detail, rejection.attempts
    ))
}

pub(super) fn rejected(detail: String) -> Condition {
    Condition {
        r#type: ConditionType::Rejected,
        status: true,
        detail,
    }
}

fn counters(counter: node::PortCounter) -> PortCounters {
    PortCounters {
        rx_packets: counter.rx_packets,
        rx_bytes: counter.rx_bytes,
        rx_frames: counter.rx_frames,
        tx_packets: counter.tx_packets,
        tx_bytes: counter.tx_bytes,
        tx_frames: counter.tx_frames,
        drops: counter.drops.into_iter().collect(),
    }
}
