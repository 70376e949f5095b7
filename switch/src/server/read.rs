//! Read (P4Runtime §13): every query is answered from one snapshot.

use tonic::{Code, Status};
use weft_proto::codec::{
    EntryFilter, Query, counter_data, decode_query, encode_counter_cell, encode_entry,
    encode_group, encode_member, encode_meter, encode_meter_config, encode_meter_counters,
    encode_profile_group, encode_session,
};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::entity::Entity;
use weft_proto::p4::v1::packet_replication_engine_entry::Type as Replication;
use weft_proto::schema::{Schema, TableSchema};
use weft_proto::status::{UpdateError, read_error};
use weft_proto::vocab::{CloneSession, DeviceId, MemberId, ProfileGroupId, ProfileId};

use crate::datapath::Nanos;
use crate::host::Shared;
use crate::state::{EntryView, State};

/// Entities of one response, so that it stays below the 4 MiB that clients accept by default.
const CHUNK: usize = 1024;

/// What a read is answered, and how it ends: requests that are none do not keep the others from their answer (§13.3).
/// A role is no filter, since every role has all of the pipeline.
pub(super) fn read(shared: &Shared, request: &wire::ReadRequest) -> Result<Answer, Status> {
    let device = shared.device(DeviceId(request.device_id))?;
    let state = device.loaded()?.state;
    let reader = Reader {
        state: &state,
        schema: state.program().schema(),
        now: shared.now(),
    };
    let mut entities = Vec::new();
    let results: Vec<Result<(), UpdateError>> = request
        .entities
        .iter()
        .map(|entity| {
            let query = decode_query(reader.schema, entity)?;
            reader.answer(&query, &mut entities)
        })
        .collect();
    let mut responses = Vec::with_capacity(entities.len().div_ceil(CHUNK));
    let mut rest = entities.into_iter().peekable();
    while rest.peek().is_some() {
        responses.push(wire::ReadResponse {
            entities: rest.by_ref().take(CHUNK).collect(),
        });
    }
    let failed = results.iter().any(Result::is_err);
    Ok(Answer {
        responses,
        error: failed.then(|| read_error(&results)),
    })
}

/// What is sent, and the error with which it ends.
pub(super) struct Answer {
    pub(super) responses: Vec<wire::ReadResponse>,
    pub(super) error: Option<Status>,
}

/// As what an entry is returned.
#[derive(Clone, Copy)]
enum Shape {
    Entry,
    Counter,
    Meter,
}

struct Reader<'a> {
    state: &'a State,
    schema: &'a Schema,
    now: Nanos,
}

impl Reader<'_> {
    fn answer(&self, query: &Query, out: &mut Vec<wire::Entity>) -> Result<(), UpdateError> {
        match query {
            Query::Entries(filter) => {
                self.select(filter, Shape::Entry, out);
            }
            Query::Counters(filter) => {
                self.check_counters(filter)?;
                let counters = EntryFilter {
                    counters: true,
                    ..filter.clone()
                };
                let before = out.len();
                self.select(&counters, Shape::Counter, out);
                // A read of one counter wants an entry (§9.3.1).
                if out.len() == before && (filter.key().is_some() || filter.default_entry) {
                    let problem = "there is no such entry";
                    return Err(UpdateError::new(Code::NotFound, problem));
                }
            }
            Query::EntryMeters(filter) => {
                let table = filter.table.and_then(|table| self.schema.table(table));
                if let Some(table) = table.filter(|table| table.meter.is_none()) {
                    let problem = format!("table `{}` has no direct meter", table.name);
                    return Err(UpdateError::new(Code::InvalidArgument, problem));
                }
                let before = out.len();
                self.select(filter, Shape::Meter, out);
                if out.len() == before && (filter.key().is_some() || filter.default_entry) {
                    return Err(missing("the entry".into()));
                }
            }
            Query::Groups(None) => {
                out.extend(
                    self.state
                        .groups()
                        .map(|group| replication(encode_group(group))),
                );
            }
            Query::Sessions(None) => out.extend(self.state.sessions().map(session)),
            Query::Sessions(Some(id)) => {
                let found = self.state.session(*id);
                let missing = || missing(format!("clone session {id}"));
                out.push(session(found.ok_or_else(missing)?));
            }
            Query::Members { profile, id } => self.members(*profile, *id, out)?,
            Query::ProfileGroups { profile, id } => self.profile_groups(*profile, *id, out)?,
            Query::Groups(Some(id)) => {
                let group = self.state.group(*id);
                let missing = || missing(format!("multicast group {id}"));
                let group = group.ok_or_else(missing)?;
                out.push(replication(encode_group(group)));
            }
            Query::Meters { cells, counters } => {
                let meters = self.schema.meters().map(|meter| meter.id);
                let meters = meters.filter(|id| cells.array.is_none_or(|wanted| wanted == *id));
                let views = meters.flat_map(|id| self.state.meter(id, cells.index));
                out.extend(views.map(|view| {
                    let counters = counters.then_some(view.counters);
                    entity(Entity::MeterEntry(encode_meter(&view.cell, counters)))
                }));
            }
            Query::CounterCells(cells) => {
                let counters = self.schema.counters().map(|counter| counter.id);
                let counters = counters.filter(|id| cells.array.is_none_or(|wanted| wanted == *id));
                for id in counters {
                    let values = self.state.counter(id, cells.index);
                    out.extend(values.map(|(index, value)| {
                        entity(Entity::CounterEntry(encode_counter_cell(id, index, value)))
                    }));
                }
            }
        }
        Ok(())
    }

    fn members(
        &self,
        profile: Option<ProfileId>,
        id: Option<MemberId>,
        out: &mut Vec<wire::Entity>,
    ) -> Result<(), UpdateError> {
        let entity = |member| wire::Entity {
            entity: Some(Entity::ActionProfileMember(encode_member(member))),
        };
        if let (Some(profile), Some(id)) = (profile, id) {
            let found = self.state.member(profile, id);
            let missing = || missing(format!("member {id}"));
            out.push(entity(found.ok_or_else(missing)?));
            return Ok(());
        }
        for wanted in self.profiles(profile) {
            out.extend(self.state.members(wanted).map(entity));
        }
        Ok(())
    }

    fn profile_groups(
        &self,
        profile: Option<ProfileId>,
        id: Option<ProfileGroupId>,
        out: &mut Vec<wire::Entity>,
    ) -> Result<(), UpdateError> {
        let entity = |group| wire::Entity {
            entity: Some(Entity::ActionProfileGroup(encode_profile_group(group))),
        };
        if let (Some(profile), Some(id)) = (profile, id) {
            let found = self.state.profile_group(profile, id);
            let missing = || missing(format!("group {id}"));
            out.push(entity(found.ok_or_else(missing)?));
            return Ok(());
        }
        for wanted in self.profiles(profile) {
            out.extend(self.state.profile_groups(wanted).map(entity));
        }
        Ok(())
    }

    /// One action profile, or all of them.
    fn profiles(&self, wanted: Option<ProfileId>) -> impl Iterator<Item = ProfileId> {
        let profiles = self.schema.profiles().map(|profile| profile.id);
        profiles.filter(move |id| wanted.is_none_or(|wanted| wanted == *id))
    }

    /// A table that is named must have counters; in a read of all tables those without are left out.
    fn check_counters(&self, filter: &EntryFilter) -> Result<(), UpdateError> {
        let table = filter.table.and_then(|table| self.schema.table(table));
        match table {
            Some(table) if !table.counters => Err(UpdateError::new(
                Code::InvalidArgument,
                format!("table `{}` has no direct counter", table.name),
            )),
            _ => Ok(()),
        }
    }

    fn select(&self, filter: &EntryFilter, what: Shape, out: &mut Vec<wire::Entity>) {
        let tables = self
            .schema
            .tables()
            .filter(|table| filter.table.is_none_or(|wanted| wanted == table.id))
            .filter(|table| match what {
                Shape::Entry => true,
                Shape::Counter => table.counters,
                Shape::Meter => table.meter.is_some(),
            });
        for table in tables {
            let views = self.views(table, filter);
            let wanted = views.into_iter().filter(|view| filter.accepts(view.entry));
            out.extend(wanted.map(|view| {
                let entry = self.encode(table, filter, view);
                wire::Entity {
                    entity: Some(what.entity(entry)),
                }
            }));
        }
    }

    fn views(&self, table: &TableSchema, filter: &EntryFilter) -> Vec<EntryView<'_>> {
        if filter.default_entry {
            return self.state.default_entry(table.id).into_iter().collect();
        }
        let whole_key = filter.priority != 0 || !table.needs_priority();
        match filter.key() {
            Some(key) if whole_key => self.state.entry(&key).into_iter().collect(),
            _ => self.state.entries(table.id),
        }
    }

    fn encode(
        &self,
        table: &TableSchema,
        filter: &EntryFilter,
        view: EntryView<'_>,
    ) -> wire::TableEntry {
        let mut entry = encode_entry(self.schema, view.entry);
        entry.is_const = view.is_const;
        if filter.counters && table.counters {
            entry.counter_data = view.counter.map(|counter| counter_data(counter.value()));
        }
        if let Some((config, counters)) = view.meter {
            let config = config.filter(|_| filter.meters);
            entry.meter_config = config.map(encode_meter_config);
            let counters = filter.meter_counters.then_some(counters);
            entry.meter_counter_data = counters.map(encode_meter_counters);
        }
        if filter.last_hit && table.idle_timeout && !filter.default_entry {
            let elapsed = self.now.0.saturating_sub(view.last_hit_ns);
            entry.time_since_last_hit = Some(wire::table_entry::IdleTimeout {
                elapsed_ns: i64::try_from(elapsed).unwrap_or(i64::MAX),
            });
        }
        entry
    }
}

impl Shape {
    fn entity(self, mut entry: wire::TableEntry) -> Entity {
        match self {
            Self::Entry => Entity::TableEntry(entry),
            Self::Counter => Entity::DirectCounterEntry(wire::DirectCounterEntry {
                data: entry.counter_data.take(),
                table_entry: Some(key(entry)),
            }),
            Self::Meter => Entity::DirectMeterEntry(wire::DirectMeterEntry {
                config: entry.meter_config.take(),
                counter_data: entry.meter_counter_data.take(),
                table_entry: Some(key(entry)),
            }),
        }
    }
}

/// The key of an entry, and nothing else of it.
fn key(entry: wire::TableEntry) -> wire::TableEntry {
    wire::TableEntry {
        table_id: entry.table_id,
        r#match: entry.r#match,
        priority: entry.priority,
        is_default_action: entry.is_default_action,
        ..wire::TableEntry::default()
    }
}

fn missing(what: String) -> UpdateError {
    UpdateError::new(Code::NotFound, format!("{what} does not exist"))
}

fn entity(entity: Entity) -> wire::Entity {
    wire::Entity {
        entity: Some(entity),
    }
}

fn session(session: &CloneSession) -> wire::Entity {
    wire::Entity {
        entity: Some(Entity::PacketReplicationEngineEntry(
            wire::PacketReplicationEngineEntry {
                r#type: Some(Replication::CloneSessionEntry(encode_session(session))),
            },
        )),
    }
}

fn replication(group: wire::MulticastGroupEntry) -> wire::Entity {
    wire::Entity {
        entity: Some(Entity::PacketReplicationEngineEntry(
            wire::PacketReplicationEngineEntry {
                r#type: Some(Replication::MulticastGroupEntry(group)),
            },
        )),
    }
}
