//! Traces: the packet from the model, the walk from the data plane, the words from here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use tonic::transport::Channel;
use weft_proto::node::v1 as node;
use weft_proto::node::v1::node_client::NodeClient;
use weft_proto::schema::Schema;
use weft_proto::vocab::EntryKey;

use super::HandleError;
use super::shared::{Shared, State, unavailable};
use crate::problem::{Code, FieldError};
use crate::resource::{Kind, Resource};
use crate::southbound::{MAX_MESSAGE_SIZE, timed};
use crate::spec::trace::{CauseKind, TraceAnswer, TraceCause, TraceMode, TraceRequest};
use crate::trace::{self, Probe};

/// How long a live trace waits when the question does not say it, and at most.
const WITHIN: Duration = Duration::from_secs(5);
const MAX_WITHIN: Duration = Duration::from_secs(30);

/// How often a recorder is asked.
const ASK: Duration = Duration::from_millis(50);

/// Packets that a live trace has recorded at most.
const LIMIT: u32 = 256;

impl Shared {
    pub(super) async fn trace(&self, request: &TraceRequest) -> Result<TraceAnswer, HandleError> {
        let within = within(request)?;
        let probe = match trace::probe(&self.model, request) {
            Ok(Ok(probe)) => probe,
            Ok(Err(unsent)) => return Ok(trace::unsent(&self.model, unsent)),
            Err(errors) => return Err(HandleError::Invalid { errors }),
        };
        match request.mode {
            TraceMode::Static => {
                let walk = self.walk(&probe).await?;
                self.with_names(|names| Ok(trace::answer(names, &walk, probe.target.as_deref())))
            }
            TraceMode::Live => self.live(request, &probe, within).await,
        }
    }

    /// Follows the next packet that matches.
    async fn live(
        &self,
        request: &TraceRequest,
        probe: &Probe,
        within: Duration,
    ) -> Result<TraceAnswer, HandleError> {
        let recording = record(self.channel.clone(), trace::filter(request, probe), within);
        // A task, so that the recorder is ended when the caller goes away, too.
        let recorded = tokio::spawn(recording).await;
        let recorded = recorded
            .unwrap_or_else(|error| Err(Status::internal(error.to_string())))
            .map_err(|status| unavailable(&probe.at.switch, status.message()))?;
        let seen = self.with_names(|names| trace::seen(names, request, &recorded));
        let Some(seen) = seen else {
            return Ok(trace::not_seen(request));
        };
        let walk = match trace::probe(&self.model, &seen.like) {
            Ok(Ok(like)) => Some(self.walk(&like).await?),
            Ok(Err(_)) | Err(_) => None,
        };
        self.with_names(|names| Ok(seen.answer(names, walk.as_ref(), probe.target.as_deref())))
    }

    async fn walk(&self, probe: &Probe) -> Result<node::PacketTrace, HandleError> {
        let switch = &probe.at.switch;
        let question = node::TracePacketRequest {
            device_id: self.entry(switch)?.device.0,
            port: probe.at.port.0,
            packet: probe.bytes.clone().into(),
        };
        let mut client =
            NodeClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_SIZE);
        timed(client.trace_packet(question))
            .await
            .map_err(|status| unavailable(switch, status.message()))
    }

    fn with_names<T>(&self, work: impl FnOnce(&trace::Names<'_>) -> T) -> T {
        let schemas: BTreeMap<&str, Arc<Schema>> = (self.switches.iter())
            .map(|(name, entry)| (name.as_str(), entry.pipelines.schema()))
            .collect();
        let state = self.read();
        let names = trace::Names {
            model: &self.model,
            schema: &|switch| schemas.get(switch).map(|schema| &**schema),
            declared: &|switch, key| declared(&state, switch, key),
        };
        work(&names)
    }
}

fn within(request: &TraceRequest) -> Result<Duration, HandleError> {
    let Some(within) = request.within else {
        return Ok(WITHIN);
    };
    let problem = match request.mode {
        TraceMode::Static => (Code::Conflict, "only a live trace waits".to_owned()),
        TraceMode::Live if within.as_duration() > MAX_WITHIN => {
            let most = MAX_WITHIN.as_secs();
            (Code::OutOfRange, format!("at most {most}s"))
        }
        TraceMode::Live => return Ok(within.as_duration()),
    };
    let errors = vec![FieldError::new("/within", problem.0, problem.1)];
    Err(HandleError::Invalid { errors })
}

/// Records until something matches, or for so long.
async fn record(
    channel: Channel,
    filter: node::PathFilter,
    within: Duration,
) -> Result<Vec<node::RecordedPath>, Status> {
    let mut client = NodeClient::new(channel).max_decoding_message_size(MAX_MESSAGE_SIZE);
    let start = node::StartPathRecorderRequest {
        filter: Some(filter),
        limit: LIMIT,
    };
    let started = timed(client.start_path_recorder(start)).await?;
    let recorder_id = started.recorder_id;
    let mut found = Vec::new();
    // An error while asking is told by the last question, too.
    let _ = tokio::time::timeout(within, async {
        let mut turn = tokio::time::interval(ASK);
        while found.is_empty() {
            turn.tick().await;
            let ask = node::TakeRecordedPathsRequest {
                recorder_id,
                stop: false,
            };
            match timed(client.take_recorded_paths(ask)).await {
                Ok(taken) => found = taken.paths,
                Err(_) => break,
            }
        }
    })
    .await;
    let last = node::TakeRecordedPathsRequest {
        recorder_id,
        stop: true,
    };
    // Copies of the packet that were on their way.
    found.extend(timed(client.take_recorded_paths(last)).await?.paths);
    Ok(found)
}

/// The resource that an entry of a switch was compiled from.
fn declared(state: &State, switch: &str, key: &EntryKey) -> Option<TraceCause> {
    let mut resources = state.resources.on_switch(switch);
    let made = |resource: &Resource| resource.program.entries.iter().any(|e| e.key == *key);
    let (place, resource) = resources.find(|(_, resource)| made(resource))?;
    Some(TraceCause {
        kind: match place.kind {
            Kind::Flow => CauseKind::Flow,
            Kind::Group => CauseKind::Group,
            _ => CauseKind::Entry,
        },
        name: place.local().to_owned(),
        owner: Some(resource.owner.clone()),
        ..TraceCause::default()
    })
}
