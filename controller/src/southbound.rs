//! The client side of P4Runtime and `weft.node.v1`: one channel to the process that hosts the switches.
//!
//! All sessions share one HTTP/2 connection. Per-update errors of a large batch travel in the trailers, which is why
//! the limit for header lists is raised.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::p4_runtime_client::P4RuntimeClient;
use weft_proto::schema::Schema;
use weft_proto::vocab::{
    CounterValue, DeviceId, ElectionId, EntryKey, MeterConfig, MulticastGroup, TableEntry,
};
use weft_proto::{codec, p4, status};

use crate::compile::{Change, MeterKey, Subject, Update};
use crate::meter;
use crate::reconcile::Answer;

/// Largest message that is accepted, in bytes.
pub(crate) const MAX_MESSAGE_SIZE: usize = 64 * 1024 * 1024;
/// Largest header list that is accepted, in bytes.
const MAX_HEADER_LIST_SIZE: u32 = 1024 * 1024;
/// A TCP peer that is silent is asked after this time, and given up after as much again.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A channel to a TCP address; it connects when it is used, and again when the connection is lost.
///
/// # Errors
///
/// The address cannot be written as a URI.
pub fn tcp(address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
    Ok(tuned(Endpoint::from_shared(format!("http://{address}"))?)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_lazy())
}

/// A channel to a Unix socket; it connects when it is used, and again when the connection is lost.
pub fn unix(path: &Path) -> Channel {
    let path: PathBuf = path.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The URI is not used for anything but the `:authority` header.
    tuned(Endpoint::from_static("http://localhost")).connect_with_connector_lazy(connector)
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .initial_connection_window_size(16 * 1024 * 1024)
        .initial_stream_window_size(4 * 1024 * 1024)
        .http2_max_header_list_size(MAX_HEADER_LIST_SIZE)
        .buffer_size(1024)
}

/// A pipeline as it is pushed to switches.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineConfig {
    /// What the pipeline offers.
    pub p4info: p4::config::v1::P4Info,
    /// The program, in the switch's own format.
    pub device_config: bytes::Bytes,
    /// Tells this pipeline from others.
    pub cookie: u64,
}

/// What one switch is asked through.
#[derive(Clone, Debug)]
pub(crate) struct SwitchClient {
    pub(crate) device: DeviceId,
    inner: P4RuntimeClient<Channel>,
}

/// Which pipeline a switch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunningPipeline {
    /// None at all.
    None,
    /// One with this cookie.
    Cookie(u64),
}

/// What a wildcard read returns.
#[derive(Debug, Default)]
pub(crate) struct SwitchState {
    pub(crate) entries: Vec<TableEntry>,
    pub(crate) groups: Vec<MulticastGroup>,
    /// Those that are configured, of arrays that flows use.
    pub(crate) meters: Vec<(MeterKey, MeterConfig)>,
    /// Entries that do not fit the pipeline that we know; there should be none.
    pub(crate) undecodable: usize,
}

/// How a write ended, when the switch looked at its updates.
#[derive(Debug)]
pub(crate) struct WriteAnswer {
    /// One for each update.
    pub(crate) answers: Vec<Answer>,
    /// All updates are committed.
    pub(crate) complete: bool,
}

impl SwitchClient {
    pub(crate) fn new(channel: Channel, device: DeviceId) -> Self {
        let inner = P4RuntimeClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_SIZE)
            .max_encoding_message_size(MAX_MESSAGE_SIZE);
        Self { device, inner }
    }

    /// Opens the stream on which arbitration happens.
    pub(crate) async fn stream(
        &mut self,
        requests: tokio::sync::mpsc::Receiver<wire::StreamMessageRequest>,
    ) -> Result<tonic::Streaming<wire::StreamMessageResponse>, Status> {
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        Ok(self.inner.stream_channel(requests).await?.into_inner())
    }

    /// Which pipeline runs.
    pub(crate) async fn running_pipeline(&mut self) -> Result<RunningPipeline, Status> {
        let request = wire::GetForwardingPipelineConfigRequest {
            device_id: self.device.0,
            response_type: wire::get_forwarding_pipeline_config_request::ResponseType::CookieOnly
                .into(),
        };
        let answer = timed(self.inner.get_forwarding_pipeline_config(request)).await;
        match answer {
            Ok(answer) => {
                let cookie = answer.config.and_then(|config| config.cookie);
                Ok(cookie.map_or(RunningPipeline::None, |cookie| {
                    RunningPipeline::Cookie(cookie.cookie)
                }))
            }
            Err(status) if status.code() == Code::FailedPrecondition => Ok(RunningPipeline::None),
            Err(status) => Err(status),
        }
    }

    /// Asks whether the switch can run a pipeline; nothing changes.
    pub(crate) async fn verify_pipeline(
        &mut self,
        election: ElectionId,
        config: wire::ForwardingPipelineConfig,
    ) -> Result<(), Status> {
        use wire::set_forwarding_pipeline_config_request::Action;
        self.set_pipeline(election, config, Action::Verify).await
    }

    /// Pushes a pipeline. With `reconcile` the switch keeps its entries, or refuses; without, it starts empty.
    pub(crate) async fn push_pipeline(
        &mut self,
        election: ElectionId,
        config: wire::ForwardingPipelineConfig,
        reconcile: bool,
    ) -> Result<(), Status> {
        use wire::set_forwarding_pipeline_config_request::Action;
        let action = if reconcile {
            Action::ReconcileAndCommit
        } else {
            Action::VerifyAndCommit
        };
        self.set_pipeline(election, config, action).await
    }

    async fn set_pipeline(
        &mut self,
        election: ElectionId,
        config: wire::ForwardingPipelineConfig,
        action: wire::set_forwarding_pipeline_config_request::Action,
    ) -> Result<(), Status> {
        let request = wire::SetForwardingPipelineConfigRequest {
            device_id: self.device.0,
            election_id: Some(encode_election(election)),
            action: action.into(),
            config: Some(config),
            ..Default::default()
        };
        timed(self.inner.set_forwarding_pipeline_config(request)).await?;
        Ok(())
    }

    /// Reads every entry, default entry and multicast group, and the meters that flows use.
    pub(crate) async fn read_all(&mut self, schema: &Schema) -> Result<SwitchState, Status> {
        use wire::entity::Entity;
        let defaults = codec::EntryFilter {
            default_entry: true,
            ..codec::EntryFilter::default()
        };
        let mut queries = vec![
            codec::Query::Entries(codec::EntryFilter::default()),
            codec::Query::Entries(defaults),
            codec::Query::Groups(None),
        ];
        if let Some(meter) = meter::array(schema) {
            queries.push(codec::Query::Meters {
                cells: codec::Cells {
                    array: Some(meter.id),
                    index: None,
                },
                counters: false,
            });
        }
        let mut state = SwitchState::default();
        let mut answer = self
            .read(queries.iter().map(codec::encode_query).collect())
            .await?;
        while let Some(part) = answer.message().await? {
            for entity in part.entities {
                match entity.entity {
                    Some(Entity::TableEntry(entry)) => match codec::decode_entry(schema, &entry) {
                        Ok(entry) => state.entries.push(entry),
                        Err(_) => state.undecodable += 1,
                    },
                    Some(Entity::PacketReplicationEngineEntry(entry)) => {
                        use wire::packet_replication_engine_entry::Type;
                        if let Some(Type::MulticastGroupEntry(group)) = entry.r#type {
                            match codec::decode_group(&group) {
                                Ok(group) => state.groups.push(group),
                                Err(_) => state.undecodable += 1,
                            }
                        }
                    }
                    Some(Entity::MeterEntry(cell)) => match codec::decode_meter(schema, &cell) {
                        Ok(cell) => {
                            let config = cell.config.map(|config| (MeterKey::from(&cell), config));
                            state.meters.extend(config);
                        }
                        Err(_) => state.undecodable += 1,
                    },
                    _ => {}
                }
            }
        }
        Ok(state)
    }

    /// The sum of the direct counters of these entries; `None` where none of them counts.
    pub(crate) async fn counters(
        &mut self,
        schema: &Schema,
        entries: &[TableEntry],
    ) -> Result<Option<CounterValue>, Status> {
        use wire::entity::Entity;
        let query = |entry: &TableEntry| {
            codec::encode_query(&codec::Query::Entries(codec::EntryFilter {
                table: Some(entry.key.table),
                matches: entry.key.matches.clone(),
                priority: entry.key.priority,
                counters: true,
                ..codec::EntryFilter::default()
            }))
        };
        let keys: BTreeSet<&EntryKey> = entries.iter().map(|entry| &entry.key).collect();
        let mut sum: Option<CounterValue> = None;
        let mut seen = BTreeSet::new();
        let mut answer = self.read(entries.iter().map(query).collect()).await?;
        while let Some(part) = answer.message().await? {
            for entity in part.entities {
                let Some(Entity::TableEntry(wire)) = entity.entity else {
                    continue;
                };
                let Ok(entry) = codec::decode_entry(schema, &wire) else {
                    continue;
                };
                // A filter that matches everything returns more than the entry that was meant.
                if !keys.contains(&entry.key) || !seen.insert(entry.key) {
                    continue;
                }
                if let Ok(Some(value)) = codec::decode_counter(schema, &wire) {
                    let sum = sum.get_or_insert_default();
                    sum.packets += value.packets;
                    sum.bytes += value.bytes;
                }
            }
        }
        Ok(sum)
    }

    /// Whether none of these entries was hit for its idle timeout.
    pub(crate) async fn are_idle(
        &mut self,
        schema: &Schema,
        entries: &[TableEntry],
    ) -> Result<bool, Status> {
        use wire::entity::Entity;
        if entries.is_empty() {
            return Ok(true);
        }
        let query = |entry: &TableEntry| {
            codec::encode_query(&codec::Query::Entries(codec::EntryFilter {
                table: Some(entry.key.table),
                matches: entry.key.matches.clone(),
                priority: entry.key.priority,
                last_hit: true,
                ..codec::EntryFilter::default()
            }))
        };
        let mut waiting: BTreeMap<&EntryKey, i64> = (entries.iter())
            .map(|entry| (&entry.key, entry.idle_timeout_ns))
            .collect();
        let mut answer = self.read(entries.iter().map(query).collect()).await?;
        while let Some(part) = answer.message().await? {
            for entity in part.entities {
                let Some(Entity::TableEntry(wire)) = entity.entity else {
                    continue;
                };
                let Ok(entry) = codec::decode_entry(schema, &wire) else {
                    continue;
                };
                let elapsed = wire.time_since_last_hit.map_or(0, |idle| idle.elapsed_ns);
                if waiting
                    .get(&entry.key)
                    .is_some_and(|least| elapsed >= *least)
                {
                    waiting.remove(&entry.key);
                }
            }
        }
        // One that is not there any more hits nothing, and is not ours to judge.
        Ok(waiting.is_empty())
    }

    /// Reads by entity filters.
    pub(crate) async fn read(
        &mut self,
        entities: Vec<wire::Entity>,
    ) -> Result<tonic::Streaming<wire::ReadResponse>, Status> {
        let request = wire::ReadRequest {
            device_id: self.device.0,
            entities,
            ..Default::default()
        };
        timed(self.inner.read(request)).await
    }

    /// Writes a batch. With `atomic` either all of it happens, at once for packets, or nothing.
    ///
    /// # Errors
    ///
    /// The call failed as a whole; whether anything was written is not known unless the status says it.
    pub(crate) async fn write(
        &mut self,
        schema: &Schema,
        election: ElectionId,
        batch: &[Update],
        atomic: bool,
    ) -> Result<WriteAnswer, Status> {
        use wire::write_request::Atomicity;
        let atomicity = if atomic {
            Atomicity::DataplaneAtomic
        } else {
            Atomicity::ContinueOnError
        };
        let request = wire::WriteRequest {
            device_id: self.device.0,
            election_id: Some(encode_election(election)),
            updates: batch
                .iter()
                .map(|update| encode_update(schema, update))
                .collect(),
            atomicity: atomicity.into(),
            ..Default::default()
        };
        let Err(status) = timed(self.inner.write(request)).await else {
            return Ok(WriteAnswer {
                answers: vec![Answer::Done; batch.len()],
                complete: true,
            });
        };
        match status::parse_batch_error(&status) {
            Some(errors) if errors.len() == batch.len() => {
                let answers = errors
                    .into_iter()
                    .map(|error| answer(error, atomic))
                    .collect();
                Ok(WriteAnswer {
                    answers,
                    complete: false,
                })
            }
            _ => Err(status),
        }
    }
}

/// Ends a call that takes too long.
pub(crate) async fn timed<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Status::deadline_exceeded("no answer")),
    }
}

/// The wire form of an election id.
pub(crate) fn encode_election(election: ElectionId) -> wire::Uint128 {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (high, low) = ((election.0 >> 64) as u64, election.0 as u64);
    wire::Uint128 { high, low }
}

/// The reverse of [`encode_election`].
pub(crate) fn decode_election(election: &wire::Uint128) -> ElectionId {
    ElectionId(u128::from(election.high) << 64 | u128::from(election.low))
}

fn encode_update(schema: &Schema, update: &Update) -> wire::Update {
    use wire::entity::Entity;
    use wire::packet_replication_engine_entry::Type;
    use wire::update;
    let r#type = match update.change {
        Change::Insert => update::Type::Insert,
        Change::Modify => update::Type::Modify,
        Change::Delete => update::Type::Delete,
    };
    let entity = match &update.subject {
        Subject::Entry(entry) if update.change == Change::Delete => {
            let key_only = TableEntry {
                key: entry.key.clone(),
                action: None,
                metadata: Vec::new(),
                is_default: entry.is_default,
                idle_timeout_ns: 0,
            };
            Entity::TableEntry(codec::encode_entry(schema, &key_only))
        }
        Subject::Entry(entry) => Entity::TableEntry(codec::encode_entry(schema, entry)),
        Subject::Meter(cell) => Entity::MeterEntry(codec::encode_meter(cell, None)),
        Subject::Group(group) => {
            Entity::PacketReplicationEngineEntry(wire::PacketReplicationEngineEntry {
                r#type: Some(Type::MulticastGroupEntry(codec::encode_group(group))),
            })
        }
    };
    wire::Update {
        r#type: r#type.into(),
        entity: Some(wire::Entity {
            entity: Some(entity),
        }),
    }
}

fn answer(error: wire::Error, atomic: bool) -> Answer {
    let code = Code::from(error.canonical_code);
    let detail = error.message;
    match code {
        // An update that was fine is undone with the others.
        Code::Ok if atomic => Answer::Aborted,
        Code::Ok => Answer::Done,
        Code::Aborted => Answer::Aborted,
        Code::AlreadyExists | Code::NotFound => Answer::Surprised {
            code: code_name(code),
            detail,
        },
        _ => Answer::Refused {
            code: code_name(code),
            detail,
        },
    }
}

/// A canonical code as P4Runtime's documents print it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
