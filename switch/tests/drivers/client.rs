//! A host of switches with a gRPC client on an in-memory connection.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint as Uri};
use tonic::{Status, Streaming};
use weft_proto::codec::{Entity, Query, Update, UpdateKind, encode_query, encode_update};
use weft_proto::node::v1::node_client::NodeClient;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::p4_runtime_client::P4RuntimeClient;
use weft_proto::p4::v1::set_forwarding_pipeline_config_request::Action;
use weft_proto::p4::v1::stream_message_request::Update as Ask;
use weft_proto::p4::v1::stream_message_response::Update as Told;
use weft_proto::schema::Schema;
use weft_proto::vocab::{
    ActionCall, DeviceId, EntryKey, FieldMatch, MulticastGroup, MulticastGroupId, PortNo, Replica,
    TableAction, TableEntry,
};
use weft_switch::host::{Config, Endpoint, LinkSpec, PortSpec, SwitchHost, SwitchSpec};
use weft_switch::ports::Medium;

use crate::pipeline;

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How long a test waits for what must not come.
pub(crate) const A_WHILE: Duration = Duration::from_millis(50);

/// A running host and a connection to it.
pub(crate) struct Lab {
    pub(crate) host: SwitchHost,
    pub(crate) p4: P4RuntimeClient<Channel>,
    pub(crate) node: NodeClient<Channel>,
    pub(crate) stop: CancellationToken,
    pub(crate) server: JoinHandle<()>,
}

/// A host's configuration: `switches` switches with device ids from 1 and `ports` ports each.
pub(crate) fn switches(switches: u64, ports: u32) -> Config {
    let port = |number| PortSpec {
        number: PortNo(number),
        name: format!("p{number}"),
        mtu: 1500,
        medium: Medium::L2,
    };
    Config {
        switches: (1..=switches)
            .map(|id| SwitchSpec {
                name: format!("s{id}"),
                device_id: DeviceId(id),
                ports: (1..=ports).map(port).collect(),
            })
            .collect(),
        boot_id: "boot".to_owned(),
        ..Config::default()
    }
}

/// A port of a switch.
pub(crate) fn at(device: u64, port: u32) -> Endpoint {
    Endpoint {
        device: DeviceId(device),
        port: PortNo(port),
    }
}

/// A link.
pub(crate) fn link(name: &str, a: Endpoint, b: Option<Endpoint>) -> LinkSpec {
    LinkSpec {
        name: name.to_owned(),
        a,
        b,
    }
}

impl Lab {
    pub(crate) async fn start(config: Config) -> Self {
        let host = SwitchHost::start(config).unwrap();
        let stop = CancellationToken::new();
        let (near, far) = tokio::io::duplex(1 << 20);
        // The server goes on for as long as there may be another connection.
        let connections = tokio_stream::once(Ok(far)).chain(tokio_stream::pending());
        let serving = host.serve(connections, stop.clone());
        let server = tokio::spawn(async move { serving.await.unwrap() });
        let mut near = Some(near);
        let channel = Uri::from_static("http://lab")
            .http2_max_header_list_size(1 << 20)
            .connect_with_connector(tower::service_fn(move |_| {
                let near = near
                    .take()
                    .ok_or_else(|| std::io::Error::other("one connection"));
                async move { near.map(TokioIo::new) }
            }))
            .await
            .unwrap();
        Self {
            host,
            p4: P4RuntimeClient::new(channel.clone()).max_decoding_message_size(64 << 20),
            node: NodeClient::new(channel),
            stop,
            server,
        }
    }

    /// A new stream.
    pub(crate) async fn stream(&self) -> Stream {
        let (asked, requests) = mpsc::unbounded_channel();
        let requests = UnboundedReceiverStream::new(requests);
        let told = self.p4.clone().stream_channel(requests).await.unwrap();
        Stream {
            asked,
            told: told.into_inner(),
        }
    }

    /// Becomes primary of a switch with election id 1 and pushes the test pipeline.
    pub(crate) async fn own(&self, device: u64) -> Stream {
        self.own_with(device, pipeline::config(7)).await
    }

    /// The same with another pipeline.
    pub(crate) async fn own_with(
        &self,
        device: u64,
        config: wire::ForwardingPipelineConfig,
    ) -> Stream {
        let mut stream = self.stream().await;
        stream.bid(device, 1);
        assert_eq!(stream.arbitration().await, (tonic::Code::Ok, 1));
        self.set_config(device, Action::VerifyAndCommit, Some(config))
            .await
            .unwrap();
        stream
    }

    pub(crate) async fn set_config(
        &self,
        device: u64,
        action: Action,
        config: Option<wire::ForwardingPipelineConfig>,
    ) -> Result<(), Status> {
        let request = wire::SetForwardingPipelineConfigRequest {
            device_id: device,
            election_id: Some(election(1)),
            action: action.into(),
            config,
            ..wire::SetForwardingPipelineConfigRequest::default()
        };
        self.p4
            .clone()
            .set_forwarding_pipeline_config(request)
            .await
            .map(|_| ())
    }

    /// A batch of updates as the primary with election id 1.
    pub(crate) async fn write(&self, device: u64, updates: &[Update]) -> Result<(), Status> {
        self.write_with(
            device,
            wire::write_request::Atomicity::ContinueOnError,
            updates,
        )
        .await
    }

    pub(crate) async fn write_with(
        &self,
        device: u64,
        atomicity: wire::write_request::Atomicity,
        updates: &[Update],
    ) -> Result<(), Status> {
        let request = wire::WriteRequest {
            device_id: device,
            election_id: Some(election(1)),
            updates: updates.iter().map(|update| self.wire(update)).collect(),
            atomicity: atomicity.into(),
            ..wire::WriteRequest::default()
        };
        self.p4.clone().write(request).await.map(|_| ())
    }

    /// An update of the test pipeline on the wire.
    #[expect(
        clippy::unused_self,
        reason = "reads as what the lab's pipeline makes of it"
    )]
    pub(crate) fn wire(&self, update: &Update) -> wire::Update {
        encode_update(&pipeline::schema(), update)
    }

    /// A batch that may be no batch at all.
    pub(crate) async fn write_wire(
        &self,
        device: u64,
        updates: Vec<wire::Update>,
    ) -> Result<(), Status> {
        let request = wire::WriteRequest {
            device_id: device,
            election_id: Some(election(1)),
            updates,
            ..wire::WriteRequest::default()
        };
        self.p4.clone().write(request).await.map(|_| ())
    }

    pub(crate) async fn try_read(
        &self,
        device: u64,
        queries: &[Query],
    ) -> Result<Vec<wire::Entity>, Status> {
        let entities = queries.iter().map(encode_query).collect();
        self.read_wire(device, entities).await.1
    }

    /// What a read was answered before it ended, and how it ended.
    pub(crate) async fn read_wire(
        &self,
        device: u64,
        entities: Vec<wire::Entity>,
    ) -> (Vec<wire::Entity>, Result<Vec<wire::Entity>, Status>) {
        let request = wire::ReadRequest {
            device_id: device,
            entities,
            ..wire::ReadRequest::default()
        };
        let mut answered = Vec::new();
        let mut responses = match self.p4.clone().read(request).await {
            Ok(responses) => responses.into_inner(),
            Err(status) => return (answered, Err(status)),
        };
        loop {
            match responses.message().await {
                Ok(Some(response)) => answered.extend(response.entities),
                Ok(None) => return (answered.clone(), Ok(answered)),
                Err(status) => return (answered, Err(status)),
            }
        }
    }

    pub(crate) async fn read(&self, device: u64, query: &Query) -> Vec<wire::Entity> {
        self.try_read(device, std::slice::from_ref(query))
            .await
            .unwrap()
    }
}

/// A client's end of a stream.
pub(crate) struct Stream {
    pub(crate) asked: mpsc::UnboundedSender<wire::StreamMessageRequest>,
    pub(crate) told: Streaming<wire::StreamMessageResponse>,
}

impl Stream {
    pub(crate) fn ask(&self, update: Ask) {
        let message = wire::StreamMessageRequest {
            update: Some(update),
        };
        self.asked.send(message).unwrap();
    }

    pub(crate) fn bid(&self, device: u64, election_id: u64) {
        self.ask(Ask::Arbitration(wire::MasterArbitrationUpdate {
            device_id: device,
            election_id: Some(election(election_id)),
            ..wire::MasterArbitrationUpdate::default()
        }));
    }

    /// Bids without an election id.
    pub(crate) fn bid_as_backup(&self, device: u64) {
        self.ask(Ask::Arbitration(wire::MasterArbitrationUpdate {
            device_id: device,
            ..wire::MasterArbitrationUpdate::default()
        }));
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Told>, Status> {
        let message = tokio::time::timeout(SOON, self.told.message())
            .await
            .expect("a message in time")?;
        Ok(message.map(|message| message.update.unwrap()))
    }

    /// The next arbitration notice: status and election id.
    pub(crate) async fn arbitration(&mut self) -> (tonic::Code, u64) {
        let update = self.notice().await;
        (
            tonic::Code::from(update.status.unwrap().code),
            update.election_id.map_or(0, |id| id.low),
        )
    }

    /// The next message, which is an arbitration notice.
    pub(crate) async fn notice(&mut self) -> wire::MasterArbitrationUpdate {
        match self.next().await.unwrap() {
            Some(Told::Arbitration(update)) => update,
            other => panic!("expected an arbitration notice, not {other:?}"),
        }
    }
}

pub(crate) fn election(low: u64) -> wire::Uint128 {
    wire::Uint128 { high: 0, low }
}

fn action(schema: &Schema, name: &str, args: &[u128]) -> TableAction {
    let action = schema.action_by_name(name).unwrap();
    let params = action.params.iter().map(|param| param.id);
    TableAction::Call(ActionCall {
        action: action.id,
        params: params.zip(args.iter().copied()).collect(),
    })
}

/// An entry of `forward`: what enters at `in_port` gets this action.
pub(crate) fn forward(in_port: u32, name: &str, args: &[u128]) -> TableEntry {
    let schema = pipeline::schema();
    let table = schema.table_by_name("forward").unwrap();
    TableEntry {
        key: EntryKey {
            table: table.id,
            matches: [(table.fields[0].id, FieldMatch::Exact(in_port.into()))].into(),
            priority: 0,
        },
        action: Some(action(&schema, name, args)),
        metadata: b"owner".to_vec(),
        is_default: false,
        idle_timeout_ns: 0,
    }
}

/// An entry of `deny` for one EtherType.
pub(crate) fn deny(ether_type: u16, priority: i32, name: &str) -> TableEntry {
    let schema = pipeline::schema();
    let table = schema.table_by_name("deny").unwrap();
    let value = FieldMatch::Ternary {
        value: ether_type.into(),
        mask: 0xffff,
    };
    TableEntry {
        key: EntryKey {
            table: table.id,
            matches: [(table.fields[0].id, value)].into(),
            priority,
        },
        action: Some(action(&schema, name, &[])),
        metadata: Vec::new(),
        is_default: false,
        idle_timeout_ns: 0,
    }
}

pub(crate) fn update(kind: UpdateKind, entry: TableEntry) -> Update {
    Update {
        kind,
        entity: Entity::Entry {
            entry,
            counter: None,
            meter: None,
            clear: false,
        },
    }
}

pub(crate) fn insert(entry: TableEntry) -> Update {
    update(UpdateKind::Insert, entry)
}

/// A group with one copy for each port.
pub(crate) fn group(id: u32, ports: &[u32]) -> Update {
    let replica = |&port| Replica {
        port: PortNo(port),
        instance: 0,
    };
    Update {
        kind: UpdateKind::Insert,
        entity: Entity::Group(MulticastGroup {
            id: MulticastGroupId(id),
            replicas: ports.iter().map(replica).collect(),
            metadata: Vec::new(),
            ..MulticastGroup::default()
        }),
    }
}

/// An Ethernet frame with `payload` after the type.
pub(crate) fn frame(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}
