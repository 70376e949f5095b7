//! Starting a controller: identity, declared state, tasks.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, RwLock};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use weft_proto::node::v1::node_client::NodeClient;
use weft_proto::vocab::PortNo;

use super::writer::{Inputs, Writer};
use super::{Config, StartError, inventory};
use crate::graph::Graph;
use crate::handle::{Handle, Shared, State, SwitchEntry};
use crate::model::{FabricMode, Host, HostKind, Model, Peer, Switch};
use crate::object;
use crate::packets::PacketLog;
use crate::pipeline::{Pipeline, Pipelines};
use crate::reconcile::{Common, Elections, Mailbox, SwitchTask};
use crate::resource::Resources;
use crate::southbound::SwitchClient;
use crate::status::{
    EndpointView, HostView, InterfaceView, LinkView, NodeView, OperState, PortView, SwitchStatus,
};
use crate::store::{Compare, Op, Revision, Store, StoreError, Txn, TxnOutcome};

/// Commands that wait for the writer; senders wait when there are more.
const COMMANDS: usize = 256;
/// Packets that wait for a switch's task; senders wait when there are more.
const PACKETS: usize = 64;
/// Observations that wait for the writer.
const OBSERVATIONS: usize = 1024;

/// Starts a controller. It ends by [`Config::cancel`]; then the returned task ends, after all tasks that it owns.
///
/// # Errors
///
/// The store, or the pipeline, cannot be used.
pub async fn start(config: Config) -> Result<(Handle, JoinHandle<()>), StartError> {
    let Config {
        model,
        pipeline,
        store,
        southbound,
        address,
        cancel,
    } = config;
    let builtin = Arc::new(Pipeline::new(pipeline)?);
    let elections = Elections::open(Arc::clone(&store)).await?;
    let cluster = cluster(&*store).await?;
    let (commands, command_queue) = mpsc::channel(COMMANDS);
    let (events, event_queue) = mpsc::channel(COMMANDS);
    let (news, news_queue) = mpsc::channel(OBSERVATIONS);
    let (ready, ready_view) = watch::channel(false);
    let packets = Arc::new(PacketLog::new());
    let common = Arc::new(Common {
        builtin: Arc::clone(&builtin),
        cluster,
        elections,
        status_changed: Notify::new(),
        events,
        packets: Arc::clone(&packets),
        cancel: cancel.clone(),
    });

    let mut tasks = JoinSet::new();
    let mut mailboxes = BTreeMap::new();
    let mut switches = BTreeMap::new();
    for (name, switch) in &model.switches {
        let mailbox = Arc::new(Mailbox::default());
        let (packet_outs, packet_queue) = mpsc::channel(PACKETS);
        let (published, status) = watch::channel(Arc::new(SwitchStatus::default()));
        let client = SwitchClient::new(southbound.clone(), switch.device_id);
        let node = NodeClient::new(southbound.clone());
        let task = SwitchTask::new(
            name,
            Arc::clone(&common),
            client,
            node,
            (Arc::clone(&mailbox), packet_queue),
            published,
        );
        tasks.spawn(task.run());
        let entry = SwitchEntry {
            device: switch.device_id,
            labels: switch.labels.clone(),
            pipelines: Pipelines::new(Arc::clone(&builtin)),
            mailbox: Arc::clone(&mailbox),
            packets: packet_outs,
            status,
        };
        switches.insert(name.clone(), entry);
        mailboxes.insert(name.clone(), mailbox);
    }
    tasks.spawn(inventory::follow(southbound.clone(), news, cancel.clone()));

    let shared = Arc::new(Shared {
        commands,
        ready: ready_view,
        address,
        channel: southbound,
        model: Arc::clone(&model),
        name: model.name.clone(),
        fabric: match model.fabric {
            FabricMode::Auto => "auto",
            FabricMode::None => "none",
        },
        nodes: nodes(&model),
        hosts: model
            .hosts
            .values()
            .map(|host| (host.name.clone(), host_view(host, &model)))
            .collect(),
        switches,
        packets,
        state: RwLock::new(initial_state(&model)),
    });
    let inputs = Inputs {
        commands: command_queue,
        events: event_queue,
        observed: news_queue,
    };
    let mut writer = Writer::new(
        Model::clone(&model),
        store,
        Arc::clone(&shared),
        common,
        mailboxes,
        ready,
    );
    writer.load().await?;
    let done = tokio::spawn(async move {
        writer.run(inputs).await;
        while tasks.join_next().await.is_some() {}
    });
    Ok((Handle::new(shared), done))
}

/// The store's identity; a new store gets a new one.
async fn cluster(store: &dyn Store) -> Result<String, StoreError> {
    let key = object::CLUSTER.to_owned();
    if let Some(record) = store.get(&key).await? {
        return Ok(String::from_utf8_lossy(&record.value).into_owned());
    }
    // Each `RandomState` has other keys; nothing here needs more than to be different each time.
    let id = format!("{:016x}", RandomState::new().build_hasher().finish());
    let txn = Txn {
        compare: vec![Compare::Absent { key: key.clone() }],
        ops: vec![Op::Put {
            key,
            value: id.clone().into(),
            lease: None,
        }],
    };
    match store.txn(txn).await? {
        TxnOutcome::Conflict {
            current: Some(record),
            ..
        } => Ok(String::from_utf8_lossy(&record.value).into_owned()),
        _ => Ok(id),
    }
}

fn nodes(model: &Model) -> Vec<NodeView> {
    let switches = model.switches.values().map(|switch| NodeView {
        name: switch.name.clone(),
        kind: "switch".to_owned(),
        labels: switch.labels.clone(),
    });
    let hosts = model.hosts.values().map(|host| NodeView {
        name: host.name.clone(),
        kind: host_kind(host.kind).to_owned(),
        labels: host.labels.clone(),
    });
    let mut nodes: Vec<NodeView> = switches.chain(hosts).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

fn host_kind(kind: HostKind) -> &'static str {
    match kind {
        HostKind::Host => "host",
        HostKind::Router => "router",
    }
}

fn host_view(host: &Host, model: &Model) -> HostView {
    let interfaces = host.interfaces.iter().map(|interface| {
        let at = &interface.attachment;
        let port = model
            .switches
            .get(&at.switch)
            .and_then(|switch| switch.ports.get(&at.port));
        InterfaceView {
            name: interface.name.clone(),
            mac: interface.mac.to_string(),
            addresses: interface
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect(),
            attachment: EndpointView {
                node: at.switch.clone(),
                interface: port.map_or_else(|| at.port.to_string(), |port| port.name.clone()),
            },
            network: interface.network.clone(),
        }
    });
    HostView {
        name: host.name.clone(),
        kind: host_kind(host.kind).to_owned(),
        interfaces: interfaces.collect(),
        declared: true,
    }
}

fn initial_state(model: &Model) -> State {
    State {
        revision: Revision::default(),
        links: model
            .links
            .values()
            .map(|link| (link.name.clone(), LinkView::new(link)))
            .collect(),
        ports: model
            .switches
            .values()
            .map(|switch| (switch.name.clone(), port_views(switch, model)))
            .collect(),
        resources: Resources::default(),
        boot_ids: BTreeMap::new(),
        graph: Arc::new(Graph::new(model)),
    }
}

fn port_views(switch: &Switch, model: &Model) -> BTreeMap<u32, PortView> {
    let view = |(number, port): (&PortNo, &crate::model::Port)| {
        let peer = match &port.peer {
            Peer::Switch { switch, port } => {
                let name = model
                    .switches
                    .get(switch)
                    .and_then(|switch| switch.ports.get(port));
                EndpointView {
                    node: switch.clone(),
                    interface: name.map_or_else(|| port.to_string(), |port| port.name.clone()),
                }
            }
            Peer::Host { host, interface } => EndpointView {
                node: host.clone(),
                interface: interface.clone(),
            },
        };
        let view = PortView {
            switch: switch.name.clone(),
            name: port.name.clone(),
            number: number.0,
            kind: "",
            state: OperState::Unknown,
            mtu: port.mtu,
            link: Some(port.link.clone()),
            peer: Some(peer),
            counters: None,
        };
        (number.0, view)
    };
    switch.ports.iter().map(view).collect()
}
