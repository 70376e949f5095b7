//! `TracePacket` of `weft.node.v1`: a walk over the committed state of all switches, as a message.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tonic::Status;
use weft_proto::bytes::encode;
use weft_proto::codec::encode_entry;
use weft_proto::node::v1 as node;
use weft_proto::vocab::{DeviceId, PortNo};

use crate::drops::DropReason;
use crate::host::{Endpoint, HostError, Shared};
use crate::ir::Format;
use crate::observe::Choice;
use crate::packet::Packet;
use crate::program::Program;
use crate::state::State;
use crate::trace::{self, CopyOut, Hop, Rewrite, Step, Walk};

/// Largest packet that is traced.
const MAX_PACKET: usize = 9216;

/// Walks the packet of a request.
pub(super) async fn trace(
    shared: &Shared,
    request: node::TracePacketRequest,
) -> Result<node::PacketTrace, Status> {
    let node::TracePacketRequest {
        device_id,
        port,
        packet,
    } = request;
    let at = Endpoint {
        device: DeviceId(device_id),
        port: PortNo(port),
    };
    shared.device(at.device)?;
    if packet.len() > MAX_PACKET {
        let problem = format!("a packet to trace has {MAX_PACKET} bytes at most");
        return Err(Status::invalid_argument(problem));
    }
    let wiring = {
        let topology = shared.topology();
        if topology.port(at).is_none() {
            let Endpoint { device, port } = at;
            return Err(HostError::UnknownPort { device, port }.into());
        }
        Arc::new(topology.wiring())
    };
    let states: BTreeMap<DeviceId, State> = shared
        .devices
        .iter()
        .filter_map(|(id, device)| Some((*id, device.forwarding().committed?.state)))
        .collect();
    let now = shared.now();
    // A storm takes a while; other calls go on meanwhile.
    let walked = tokio::task::spawn_blocking(move || {
        let packet = Packet::from_bytes(&packet);
        let walk = trace::walk(wiring, states.clone(), at, packet, now);
        message(&walk, &states)
    });
    walked
        .await
        .map_err(|error| Status::internal(format!("the trace failed: {error}")))
}

fn message(walk: &Walk, states: &BTreeMap<DeviceId, State>) -> node::PacketTrace {
    let hops = walk.hops.iter().map(|hop| {
        let state = states.get(&hop.device);
        hop_message(hop, state.map(|state| &**state.program()))
    });
    node::PacketTrace {
        hops: hops.collect(),
        truncated: walk.truncated,
    }
}

fn hop_message(hop: &Hop, program: Option<&Program>) -> node::TraceHop {
    let Hop {
        device,
        in_port,
        from: _,
        headers,
        steps,
        punted,
        dropped,
        copies,
    } = hop;
    node::TraceHop {
        device_id: device.0,
        in_port: in_port.0,
        headers: headers.clone(),
        steps: steps_message(steps, program),
        punted: *punted,
        drop_reason: reason(*dropped, program),
        copies: copies
            .iter()
            .map(|copy| copy_message(copy, program))
            .collect(),
    }
}

fn copy_message(copy: &CopyOut, program: Option<&Program>) -> node::TraceCopy {
    let CopyOut {
        port,
        session,
        steps,
        dropped,
        next,
    } = copy;
    node::TraceCopy {
        port: port.0,
        steps: steps_message(steps, program),
        drop_reason: reason(*dropped, program),
        next_hop: next.and_then(|next| u32::try_from(next).ok()),
        clone_session: session.map_or(0, |session| session.0),
    }
}

fn steps_message(steps: &[Step], program: Option<&Program>) -> Vec<node::TraceStep> {
    // Without a program there was no step.
    let messages = program.map(|program| steps.iter().map(|step| step_message(step, program)));
    messages.into_iter().flatten().collect()
}

fn step_message(step: &Step, program: &Program) -> node::TraceStep {
    let Step {
        table,
        hit,
        entry,
        choice,
        action,
        rewrites,
        dropped,
    } = step;
    let entry = entry
        .as_ref()
        .map(|entry| encode_entry(program.schema(), entry).encode_to_vec());
    let arguments = action.iter().flat_map(|(_, arguments)| arguments);
    node::TraceStep {
        table_id: table.map_or(0, |table| table.0),
        hit: *hit,
        entry: entry.unwrap_or_default().into(),
        action_id: action.as_ref().map_or(0, |(action, _)| action.0),
        arguments: arguments.map(|value| encode(*value)).collect(),
        rewrites: rewrites.iter().map(rewrite_message).collect(),
        drop_reason: reason(*dropped, Some(program)),
        choice: choice.as_ref().map(choice_message),
    }
}

fn choice_message(choice: &Choice) -> node::TraceChoice {
    let Choice {
        group,
        members,
        chosen,
    } = choice;
    node::TraceChoice {
        group_id: group.map_or(0, |group| group.0),
        members: members
            .iter()
            .map(|member| node::TraceMember {
                member_id: member.member.map_or(0, |member| member.0),
                weight: member.weight,
                watch_port: member.watch_port.map_or(0, |port| port.0),
                alive: member.alive,
            })
            .collect(),
        chosen: chosen.and_then(|chosen| u32::try_from(chosen).ok()),
    }
}

fn rewrite_message(rewrite: &Rewrite) -> node::TraceRewrite {
    let Rewrite {
        field,
        bits,
        format,
        before,
        after,
    } = rewrite;
    let format = match format {
        Format::Number => "",
        Format::Hex => "hex",
        Format::Mac => "mac",
        Format::Ipv4 => "ipv4",
        Format::Ipv6 => "ipv6",
        Format::Port => "port",
    };
    let value = |value: &Option<u128>| value.map_or_else(Bytes::new, encode);
    node::TraceRewrite {
        field: field.clone(),
        bits: u32::from(*bits),
        format: format.to_owned(),
        before: value(before),
        after: value(after),
    }
}

fn reason(dropped: Option<DropReason>, program: Option<&Program>) -> String {
    match (dropped, program) {
        (None, _) => String::new(),
        (Some(reason), Some(program)) => program.drop_name(reason).to_owned(),
        (Some(reason), None) => reason.to_string(),
    }
}
