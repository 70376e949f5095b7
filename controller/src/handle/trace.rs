//! Traces: the packet from the model, the walk from the data plane, the words from here.

use weft_proto::node::v1 as node;
use weft_proto::node::v1::node_client::NodeClient;
use weft_proto::schema::Schema;
use weft_proto::vocab::EntryKey;

use super::HandleError;
use super::shared::{Shared, unavailable};
use crate::southbound::{MAX_MESSAGE_SIZE, timed};
use crate::spec::trace::{TraceAnswer, TraceRequest};
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
        let state = self.read();
        let names = trace::Names {
            model: &self.model,
            schema: &|switch| Some::<&Schema>(&self.switches.get(switch)?.schema),
            flow: &|switch, key: &EntryKey| {
                let mut flows = state.flows.get(switch)?.iter();
                let found = flows.find(|(_, flow)| {
                    let mut entries = flow.compiled.entries.iter();
                    entries.any(|entry| entry.key == *key)
                });
                found.map(|(name, _)| name.clone())
            },
        };
        Ok(trace::answer(&names, &walk, probe.target.as_deref()))
    }
}
