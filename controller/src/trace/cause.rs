//! Who is to blame: from an entry, a port or a host to the resource behind it, and to its line in the file.

use weft_proto::node::v1 as node;
use weft_proto::schema::Schema;
use weft_proto::vocab::TableEntry;

use super::{End, Kind, Names, entry_of, steps};
use crate::compile::{Owner, OwnerTag, Part, explain};
use crate::model::Model;
use crate::origin::Origin;
use crate::spec::trace::{CauseKind, TraceCause, TracePlace};

/// A part of the model as a cause, with its place in the file.
pub(super) fn of_part(model: &Model, part: Part, detail: Option<String>) -> TraceCause {
    let origins = &model.origins;
    let (kind, name, origin) = match part {
        Part::Node(name) => {
            let origin = origins.nodes.get(&name);
            (CauseKind::Node, name, origin)
        }
        Part::Link(name) => {
            let origin = origins.links.get(&name);
            (CauseKind::Link, name, origin)
        }
        // A subnet is there because the first node with an address in it says so.
        Part::Subnet(network, prefix) => {
            let hosts = model.hosts.values().filter(|host| {
                let mut interfaces = host.interfaces.iter();
                interfaces.any(|interface| {
                    let mut addresses = interface.addresses.iter();
                    interface.network == network && addresses.any(|net| net.trunc() == prefix)
                })
            });
            let places = hosts.filter_map(|host| origins.nodes.get(&host.name));
            let origin = places.min_by_key(|origin| origin.line);
            (CauseKind::Subnet, prefix.to_string(), origin)
        }
        Part::Network(name) => (CauseKind::Network, name, None),
    };
    let line = origin.and_then(|Origin { line, .. }| *line);
    TraceCause {
        kind,
        name,
        detail,
        owner: None,
        file: line.is_some().then(|| origins.file.clone()),
        line,
    }
}

/// A cause that is no resource.
fn plain(kind: CauseKind, name: &str, detail: Option<&str>) -> TraceCause {
    TraceCause {
        kind,
        name: name.to_owned(),
        detail: detail.map(str::to_owned),
        ..TraceCause::default()
    }
}

impl Names<'_> {
    /// Who wanted an entry.
    pub(super) fn cause(
        &self,
        hop: &node::TraceHop,
        schema: &Schema,
        entry: &TableEntry,
    ) -> Option<TraceCause> {
        let switch = self.switch(hop)?;
        if let Some(cause) = (self.declared)(&switch.name, &entry.key) {
            return Some(cause);
        }
        let table = schema.table(entry.key.table)?.name.as_str();
        match OwnerTag::from_metadata(&entry.metadata) {
            Some(tag) if tag.owner == Owner::Fabric => {
                let purpose = explain(self.model, schema, switch, entry);
                Some(match purpose.part {
                    Some(part) => of_part(self.model, part, Some(purpose.text)),
                    None => plain(CauseKind::Fabric, table, Some(&purpose.text)),
                })
            }
            // The flow is gone, and the switch has not heard of it yet.
            Some(_) => Some(plain(
                CauseKind::Foreign,
                table,
                Some("an entry of something that was deleted"),
            )),
            None if entry.is_default => None,
            None => Some(plain(
                CauseKind::Foreign,
                table,
                Some("an entry that another P4Runtime client wrote"),
            )),
        }
    }

    /// Where a packet ends, and who wanted that.
    pub(super) fn blame(
        &self,
        walk: &node::PacketTrace,
        end: &End<'_>,
    ) -> (TracePlace, Option<TraceCause>) {
        let hop = &walk.hops[end.hop];
        let mut place = TracePlace {
            switch: Some(self.switch_name(hop)),
            port: end.copy.map(|copy| self.port_name(hop, copy.port)),
            ..TracePlace::default()
        };
        let step = match end.kind {
            Kind::Left => {
                place.host = self.host_at(walk, end);
                return (place, None);
            }
            // The one that said so; of several, the last.
            Kind::Dropped(reason) => steps(hop, end.copy)
                .filter(|step| step.drop_reason == reason)
                .last(),
            Kind::Punted => steps(hop, None).filter(|step| step.hit).last(),
        };
        let Some(step) = step else {
            // No step decided it, so it is the port: it is down, too small, or gone.
            let number = end.copy.map_or(hop.in_port, |copy| copy.port);
            let link = self.port(hop, number).map(|port| port.link.clone());
            let link = link.filter(|link| !link.is_empty() && end.copy.is_some());
            let cause = link.map(|link| of_part(self.model, Part::Link(link), None));
            return (place, cause);
        };
        // Statements outside of tables go by what was looked up before.
        let decided = match self.schema_of(hop, step) {
            Some(_) => Some(step),
            None => steps(hop, end.copy)
                .take_while(|other| !std::ptr::eq(*other, step))
                .filter(|step| step.table_id != 0)
                .last(),
        };
        let Some((step, (schema, table))) =
            decided.and_then(|step| Some((step, self.schema_of(hop, step)?)))
        else {
            return (place, None);
        };
        place.table = Some(table.name.clone());
        let entry = entry_of(schema, step).filter(|_| step.hit);
        let cause = match entry {
            Some(entry) => self.cause(hop, schema, &entry),
            None => {
                // What was looked up before is how the packet came here, and says where to look in the file.
                let before = steps(hop, end.copy)
                    .take_while(|other| !std::ptr::eq(*other, step))
                    .filter(|step| step.hit)
                    .last();
                let before = before.and_then(|step| self.cause_of_step(hop, step));
                let before = before.unwrap_or_default();
                Some(TraceCause {
                    detail: before.detail.map(|detail| format!("after {detail}")),
                    file: before.file,
                    line: before.line,
                    ..plain(CauseKind::NoMatch, &table.name, None)
                })
            }
        };
        (place, cause)
    }

    fn cause_of_step(&self, hop: &node::TraceHop, step: &node::TraceStep) -> Option<TraceCause> {
        let (schema, _) = self.schema_of(hop, step)?;
        self.cause(hop, schema, &entry_of(schema, step)?)
    }
}
