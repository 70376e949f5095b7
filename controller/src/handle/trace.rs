//! Traces: the packet from the model, the walk from the data plane, the words from here.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_proto::node::v1 as node;
use weft_proto::node::v1::node_client::NodeClient;
use weft_proto::schema::Schema;
use weft_proto::vocab::EntryKey;

use super::HandleError;
use super::shared::{Shared, State, unavailable};
use crate::resource::{Kind, Resource};
use crate::southbound::{MAX_MESSAGE_SIZE, timed};
use crate::spec::trace::{TraceAnswer, TraceCause, TraceRequest};
use crate::trace;

impl Shared {
    pub(super) async fn trace(&self, request: &TraceRequest) -> Result<TraceAnswer, HandleError> {
        let probe = match trace::probe(&self.model, request) {
            Ok(Ok(probe)) => probe,
            Ok(Err(unsent)) => return Ok(trace::unsent(unsent)),
            Err(errors) => return Err(HandleError::Invalid { errors }),
        };
        let switch = &probe.at.switch;
        let question = node::TracePacketRequest {
            device_id: self.entry(switch)?.device.0,
            port: probe.at.port.0,
            packet: probe.bytes.into(),
        };
        let mut client =
            NodeClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_SIZE);
        let walk = timed(client.trace_packet(question))
            .await
            .map_err(|status| unavailable(switch, status.message()))?;
        let schemas: BTreeMap<&str, Arc<Schema>> = (self.switches.iter())
            .map(|(name, entry)| (name.as_str(), entry.pipelines.schema()))
            .collect();
        let state = self.read();
        let names = trace::Names {
            model: &self.model,
            schema: &|switch| schemas.get(switch).map(|schema| &**schema),
            declared: &|switch, key| declared(&state, switch, key),
        };
        Ok(trace::answer(&names, &walk, probe.target.as_deref()))
    }
}

/// The resource that an entry of a switch was compiled from.
fn declared(state: &State, switch: &str, key: &EntryKey) -> Option<TraceCause> {
    let mut resources = state.resources.on_switch(switch);
    let made = |resource: &Resource| resource.program.entries.iter().any(|e| e.key == *key);
    let (place, _) = resources.find(|(_, resource)| made(resource))?;
    let name = place.local().to_owned();
    Some(match place.kind {
        Kind::Flow => TraceCause::Flow(name),
        _ => TraceCause::Entry(name),
    })
}
