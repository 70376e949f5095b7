//! What becomes of a packet: a host's packet is made from the model, the data plane walks it through the switches' own
//! interpreter without sending anything, and the ids in its answer become names here, down to who wanted each entry and
//! the line of the file that says so. Live, the data plane's recorder tells the way of a real packet instead.

mod cause;
mod live;
mod packet;

use std::collections::BTreeMap;

use prost::Message as _;
use serde_json::Value;
use weft_proto::bytes::decode;
use weft_proto::codec::decode_entry;
use weft_proto::node::v1 as node;
use weft_proto::p4::v1 as wire;
use weft_proto::schema::{Schema, TableSchema};
use weft_proto::vocab::{ActionId, DeviceId, EntryKey, MatchKind, PortNo, TableEntry, TableId};

use crate::compile::Part;
use crate::flow::text::{Form, Format, Pattern, Ports, print};
use crate::model::{Model, Peer, Port, Switch};
use crate::spec::trace::{
    TraceAction, TraceAnswer, TraceCause, TraceChange, TraceChoice, TraceEntry, TraceHop,
    TraceMember, TraceMemberState, TracePlace, TraceTable, TraceVerdict,
};

pub(crate) use live::{filter, not_seen, seen};
pub(crate) use packet::{Probe, Unsent, probe};

/// What is needed to put names to ids.
pub(crate) struct Names<'a> {
    pub(crate) model: &'a Model,
    /// The pipelines of switches, by name.
    pub(crate) schema: &'a dyn Fn(&str) -> Option<&'a Schema>,
    /// The flow or raw entry that an entry of a switch was compiled from.
    pub(crate) declared: &'a dyn Fn(&str, &EntryKey) -> Option<TraceCause>,
}

/// The answer where the host cannot even send.
pub(crate) fn unsent(model: &Model, unsent: Unsent) -> TraceAnswer {
    let host = Part::Node(unsent.host.clone());
    TraceAnswer {
        reason: Some(unsent.reason.to_owned()),
        cause: Some(cause::of_part(model, host, None)),
        ..nowhere(TraceVerdict::Dropped, unsent.host)
    }
}

/// A packet that no switch saw.
fn nowhere(verdict: TraceVerdict, host: String) -> TraceAnswer {
    TraceAnswer {
        verdict,
        at: TracePlace {
            host: Some(host),
            ..TracePlace::default()
        },
        reason: None,
        cause: None,
        hops: Vec::new(),
        copies: BTreeMap::new(),
        diverged: false,
        truncated: false,
    }
}

/// One end of one copy: at which hop, and by which copy of it.
#[derive(Clone, Copy)]
struct End<'w> {
    hop: usize,
    copy: Option<&'w node::TraceCopy>,
    kind: Kind<'w>,
}

#[derive(Clone, Copy)]
enum Kind<'w> {
    Left,
    Dropped(&'w str),
    Punted,
}

/// Puts a walk into words.
pub(crate) fn answer(
    names: &Names<'_>,
    walk: &node::PacketTrace,
    target: Option<&str>,
) -> TraceAnswer {
    let ends = ends(walk);
    let chosen = names.choose(walk, &ends, target);
    names.tell(walk, &ends, chosen, target)
}

impl Names<'_> {
    /// The end to tell of; `None`: there is none.
    fn choose(
        &self,
        walk: &node::PacketTrace,
        ends: &[End<'_>],
        target: Option<&str>,
    ) -> Option<usize> {
        // What was asked for first, then what went wrong; a copy that somebody else gets says the least.
        let rank = |end: &End<'_>| match end.kind {
            Kind::Left => match self.host_at(walk, end) {
                Some(host) if target.is_none_or(|target| target == host) => 0,
                _ if target.is_none() => 1,
                _ => 4,
            },
            Kind::Dropped(_) => 2,
            Kind::Punted => 3,
        };
        (0..ends.len()).min_by_key(|index| rank(&ends[*index]))
    }

    /// Puts the way to an end into words, and counts the other ends.
    fn tell(
        &self,
        walk: &node::PacketTrace,
        ends: &[End<'_>],
        chosen: Option<usize>,
        target: Option<&str>,
    ) -> TraceAnswer {
        let mut copies = BTreeMap::new();
        for (index, end) in ends.iter().enumerate() {
            if Some(index) != chosen {
                *copies.entry(self.label(walk, end)).or_default() += 1;
            }
        }
        let Some(end) = chosen.map(|index| ends[index]) else {
            // Only a walk that was cut short has no end.
            return TraceAnswer {
                verdict: TraceVerdict::Dropped,
                at: TracePlace::default(),
                reason: Some("unknown".to_owned()),
                cause: None,
                hops: Vec::new(),
                copies,
                diverged: false,
                truncated: walk.truncated,
            };
        };
        let hops = self.hops(walk, &end);
        let (verdict, reason) = match end.kind {
            Kind::Left => {
                let reached = self.host_at(walk, &end);
                let other = target.is_some() && reached.as_deref() != target;
                let reason = other.then(|| "other-host".to_owned());
                (TraceVerdict::Delivered, reason)
            }
            Kind::Dropped(reason) => (TraceVerdict::Dropped, Some(reason.to_owned())),
            Kind::Punted => (TraceVerdict::ToController, None),
        };
        let (at, cause) = self.blame(walk, &end);
        TraceAnswer {
            verdict,
            at,
            reason,
            cause,
            hops,
            copies,
            diverged: false,
            truncated: walk.truncated,
        }
    }
}

fn ends(walk: &node::PacketTrace) -> Vec<End<'_>> {
    let mut ends = Vec::new();
    for (index, hop) in walk.hops.iter().enumerate() {
        let mut add = |copy, kind| {
            ends.push(End {
                hop: index,
                copy,
                kind,
            });
        };
        if hop.punted {
            add(None, Kind::Punted);
        }
        if !hop.drop_reason.is_empty() {
            add(None, Kind::Dropped(&hop.drop_reason));
        }
        for copy in &hop.copies {
            if !copy.drop_reason.is_empty() {
                add(Some(copy), Kind::Dropped(&copy.drop_reason));
            } else if copy.port == PortNo::CPU.0 {
                add(Some(copy), Kind::Punted);
            } else if copy.next_hop.is_none() {
                add(Some(copy), Kind::Left);
            }
        }
    }
    ends
}

impl Names<'_> {
    fn switch(&self, hop: &node::TraceHop) -> Option<&Switch> {
        self.model.switch_by_device(DeviceId(hop.device_id))
    }

    fn port(&self, hop: &node::TraceHop, number: u32) -> Option<&Port> {
        self.switch(hop)?.ports.get(&PortNo(number))
    }

    fn port_name(&self, hop: &node::TraceHop, number: u32) -> String {
        let port = self.port(hop, number);
        port.map_or_else(|| PortNo(number).to_string(), |port| port.name.clone())
    }

    fn switch_name(&self, hop: &node::TraceHop) -> String {
        let switch = self.switch(hop);
        switch.map_or_else(|| hop.device_id.to_string(), |switch| switch.name.clone())
    }

    /// The host behind the port by which a copy leaves.
    fn host_at(&self, walk: &node::PacketTrace, end: &End<'_>) -> Option<String> {
        let port = self.port(&walk.hops[end.hop], end.copy?.port)?;
        match &port.peer {
            Peer::Host { host, .. } => Some(host.clone()),
            Peer::Switch { .. } => None,
        }
    }

    /// A short name of an end, for those that are only counted.
    fn label(&self, walk: &node::PacketTrace, end: &End<'_>) -> String {
        match end.kind {
            Kind::Punted => "toController".to_owned(),
            Kind::Dropped(reason) => format!("dropped: {reason}"),
            Kind::Left => match self.host_at(walk, end) {
                Some(host) => format!("delivered: {host}"),
                None => {
                    let hop = &walk.hops[end.hop];
                    let port = end.copy.map_or(0, |copy| copy.port);
                    let (switch, port) = (self.switch_name(hop), self.port_name(hop, port));
                    format!("delivered: {switch}:{port}")
                }
            },
        }
    }

    /// The switches from where the packet entered to this end.
    fn hops(&self, walk: &node::PacketTrace, end: &End<'_>) -> Vec<TraceHop> {
        let mut parents = BTreeMap::new();
        for (index, hop) in walk.hops.iter().enumerate() {
            for copy in &hop.copies {
                if let Some(next) = copy.next_hop {
                    parents.insert(next as usize, (index, copy));
                }
            }
        }
        let mut way = vec![self.hop(&walk.hops[end.hop], end.copy)];
        let mut at = end.hop;
        while let Some((before, copy)) = parents.get(&at)
            && *before < at
        {
            way.push(self.hop(&walk.hops[*before], Some(copy)));
            at = *before;
        }
        way.reverse();
        way
    }

    fn hop(&self, hop: &node::TraceHop, copy: Option<&node::TraceCopy>) -> TraceHop {
        let left = copy.filter(|copy| copy.drop_reason.is_empty() && copy.port != PortNo::CPU.0);
        TraceHop {
            switch: self.switch_name(hop),
            in_port: self.port_name(hop, hop.in_port),
            headers: hop.headers.clone(),
            tables: steps(hop, copy).map(|step| self.table(hop, step)).collect(),
            out_port: left.map(|copy| self.port_name(hop, copy.port)),
        }
    }

    fn table(&self, hop: &node::TraceHop, step: &node::TraceStep) -> TraceTable {
        let rewrite = step.rewrites.iter().map(|change| {
            let values = TraceChange {
                from: self.value(change, &change.before),
                to: self.value(change, &change.after),
            };
            (change.field.clone(), values)
        });
        let rewrite = rewrite.collect();
        let drop = (!step.drop_reason.is_empty()).then(|| step.drop_reason.clone());
        let Some((schema, table)) = self.schema_of(hop, step) else {
            return TraceTable {
                rewrite,
                drop,
                ..TraceTable::default()
            };
        };
        let ports = self.ports(hop);
        let entry = step.hit.then(|| entry_of(schema, step)).flatten();
        TraceTable {
            table: Some(table.name.clone()),
            entry: entry.map(|entry| TraceEntry {
                r#match: matches(table, &ports, &entry),
                priority: table.needs_priority().then_some(entry.key.priority),
                cause: self.cause(hop, schema, &entry),
            }),
            action: action(schema, &ports, step),
            choice: step.choice.as_ref().map(|choice| self.choice(hop, choice)),
            rewrite,
            drop,
        }
    }

    fn choice(&self, hop: &node::TraceHop, choice: &node::TraceChoice) -> TraceChoice {
        let given = |id: u32| (id != 0).then_some(id);
        let members = (0..)
            .zip(&choice.members)
            .map(|(index, member)| TraceMember {
                member: given(member.member_id),
                weight: member.weight,
                watch_port: given(member.watch_port).map(|port| self.port_name(hop, port)),
                state: match member.alive {
                    _ if choice.chosen == Some(index) => TraceMemberState::Chosen,
                    true => TraceMemberState::Alive,
                    false => TraceMemberState::Down,
                },
            });
        TraceChoice {
            group: given(choice.group_id),
            members: members.collect(),
        }
    }

    fn value(&self, change: &node::TraceRewrite, value: &[u8]) -> Option<Value> {
        if value.is_empty() {
            return None;
        }
        let bits = u16::try_from(change.bits).ok()?;
        let form = Form {
            format: Format::of(Some(&change.format)),
            bits,
            kind: MatchKind::Exact,
            names: Vec::new(),
        };
        let value = decode(value, bits).ok()?;
        Some(print(&form, &Ports::new(), Pattern::exact(value, bits)))
    }

    fn ports(&self, hop: &node::TraceHop) -> Ports {
        let ports = self.switch(hop).map(|switch| switch.ports.iter());
        let named = |(number, port): (&PortNo, &Port)| (port.name.clone(), *number);
        ports.into_iter().flatten().map(named).collect()
    }

    fn schema_of(
        &self,
        hop: &node::TraceHop,
        step: &node::TraceStep,
    ) -> Option<(&Schema, &TableSchema)> {
        let schema = (self.schema)(&self.switch(hop)?.name)?;
        Some((schema, schema.table(TableId(step.table_id))?))
    }
}

/// What a switch did to a copy: ingress, then the copy's egress.
fn steps<'w>(
    hop: &'w node::TraceHop,
    copy: Option<&'w node::TraceCopy>,
) -> impl Iterator<Item = &'w node::TraceStep> {
    let egress = copy.map_or(&[][..], |copy| &copy.steps);
    hop.steps.iter().chain(egress)
}

fn entry_of(schema: &Schema, step: &node::TraceStep) -> Option<TableEntry> {
    let entry = wire::TableEntry::decode(&step.entry[..]).ok()?;
    decode_entry(schema, &entry).ok()
}

fn matches(table: &TableSchema, ports: &Ports, entry: &TableEntry) -> BTreeMap<String, Value> {
    let fields = entry.key.matches.iter().filter_map(|(id, wanted)| {
        let field = table.field(*id)?;
        let pattern = Pattern::of_match(*wanted, field.bits);
        Some((
            field.name.clone(),
            print(&Form::of_field(field), ports, pattern),
        ))
    });
    fields.collect()
}

fn action(schema: &Schema, ports: &Ports, step: &node::TraceStep) -> Option<TraceAction> {
    let action = schema.action(ActionId(step.action_id))?;
    let params = action.params.iter().zip(&step.arguments);
    let params = params.filter_map(|(param, value)| {
        let pattern = Pattern::exact(decode(value, param.bits).ok()?, param.bits);
        Some((
            param.name.clone(),
            print(&Form::of_param(param), ports, pattern),
        ))
    });
    Some(TraceAction {
        name: action.name.clone(),
        params: params.collect(),
    })
}

#[cfg(test)]
mod tests;
