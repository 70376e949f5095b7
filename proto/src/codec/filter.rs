//! What a read asks for (P4Runtime §9.1.5, §13).

use std::collections::BTreeMap;

use super::EntryError;
use super::array::{Cells, counter_cells, index, meter_cells};
use super::entry::{encode_key, matches, table};
use super::profile::{profile, with_selector};
use crate::p4::v1 as wire;
use crate::p4::v1::entity::Entity;
use crate::p4::v1::packet_replication_engine_entry::Type as Replication;
use crate::p4::v1::table_action::Type;
use crate::schema::{Schema, TableSchema};
use crate::vocab::{
    ActionId, CloneSessionId, CounterId, EntryKey, FieldId, FieldMatch, MemberId, MeterId,
    MulticastGroupId, ProfileGroupId, ProfileId, TableAction, TableEntry, TableId,
};

/// Which entries a read wants, and what of them. The default is every entry of every table.
///
/// Default entries are wanted only by a filter that says so, and it wants nothing else. An entry that matches
/// everything cannot be told apart from "all entries", unless its priority does it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// The table; `None` for all.
    pub table: Option<TableId>,
    /// The whole match; empty for all.
    pub matches: BTreeMap<FieldId, FieldMatch>,
    /// The priority; 0 for all.
    pub priority: i32,
    /// The action; `None` for all.
    pub action: Option<ActionId>,
    /// The metadata; empty for all.
    pub metadata: Vec<u8>,
    /// Default entries instead of the others.
    pub default_entry: bool,
    /// The answer carries counters.
    pub counters: bool,
    /// The answer carries the time since the last hit.
    pub last_hit: bool,
    /// The answer carries configurations of meters.
    pub meters: bool,
    /// The answer carries what has passed the meters.
    pub meter_counters: bool,
}

impl EntryFilter {
    /// Whether the read wants this entry.
    pub fn accepts(&self, entry: &TableEntry) -> bool {
        let key = &entry.key;
        self.table.is_none_or(|table| table == key.table)
            && self.default_entry == entry.is_default
            && (self.matches.is_empty() || self.matches == key.matches)
            && (self.priority == 0 || self.priority == key.priority)
            && (self.metadata.is_empty() || self.metadata == entry.metadata)
            && self.action.is_none_or(|action| {
                matches!(&entry.action, Some(TableAction::Call(call)) if call.action == action)
            })
    }

    /// The key of the only entry that the read can want, so that it need not be searched.
    pub fn key(&self) -> Option<EntryKey> {
        let table = self.table.filter(|_| !self.matches.is_empty())?;
        Some(EntryKey {
            table,
            matches: self.matches.clone(),
            priority: self.priority,
        })
    }
}

/// One request of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Table entries.
    Entries(EntryFilter),
    /// Direct counters, as entities of their own.
    Counters(EntryFilter),
    /// Direct meters, as entities of their own.
    EntryMeters(EntryFilter),
    /// Multicast groups; `None` for all.
    Groups(Option<MulticastGroupId>),
    /// Cells of meters that belong to no table.
    Meters {
        /// Which ones.
        cells: Cells<MeterId>,
        /// The answer carries what has passed them.
        counters: bool,
    },
    /// Cells of counters that belong to no table.
    CounterCells(Cells<CounterId>),
    /// Clone sessions; `None` for all.
    Sessions(Option<CloneSessionId>),
    /// Members of action profiles.
    Members {
        /// The profile; `None` for all, with all their members.
        profile: Option<ProfileId>,
        /// The member; `None` for all.
        id: Option<MemberId>,
    },
    /// Groups of action selectors.
    ProfileGroups {
        /// The selector; `None` for all, with all their groups.
        profile: Option<ProfileId>,
        /// The group; `None` for all.
        id: Option<ProfileGroupId>,
    },
}

/// Decodes a filter for table entries.
///
/// # Errors
///
/// A filter without a table, a match that is no key of the table, filters by arguments or by member.
#[expect(deprecated, reason = "old clients may still set controller_metadata")]
pub fn decode_filter(schema: &Schema, entry: &wire::TableEntry) -> Result<EntryFilter, EntryError> {
    let wanted = EntryFilter {
        metadata: entry.metadata.to_vec(),
        default_entry: entry.is_default_action,
        counters: entry.counter_data.is_some(),
        last_hit: entry.time_since_last_hit.is_some(),
        meters: entry.meter_config.is_some(),
        meter_counters: entry.meter_counter_data.is_some(),
        ..EntryFilter::default()
    };
    if entry.controller_metadata != 0 {
        return Err(EntryError::Unsupported {
            what: "controller_metadata (use metadata)",
        });
    }
    if entry.table_id == 0 {
        let filtered = !entry.r#match.is_empty()
            || entry.action.is_some()
            || entry.priority != 0
            || !entry.metadata.is_empty();
        return match filtered {
            true => Err(EntryError::FilterWithoutTable),
            false => Ok(wanted),
        };
    }
    let table = table(schema, entry.table_id)?;
    let has_key = !entry.r#match.is_empty() || entry.priority != 0;
    if entry.is_default_action && has_key {
        return Err(EntryError::DefaultWithKey {
            table: table.name.clone(),
        });
    }
    if wanted.last_hit && (!table.idle_timeout || wanted.default_entry) {
        return Err(EntryError::IdleTimeout {
            table: table.name.clone(),
        });
    }
    Ok(EntryFilter {
        table: Some(table.id),
        matches: match entry.r#match.is_empty() {
            true => BTreeMap::new(),
            false => matches(table, &entry.r#match)?,
        },
        priority: priority(table, entry.priority)?,
        action: action(table, entry.action.as_ref())?,
        ..wanted
    })
}

/// Encodes a filter for table entries.
pub fn encode_filter(filter: &EntryFilter) -> wire::TableEntry {
    let action = filter.action.map(|id| wire::TableAction {
        r#type: Some(Type::Action(wire::Action {
            action_id: id.0,
            ..wire::Action::default()
        })),
    });
    let key = EntryKey {
        table: filter.table.unwrap_or_default(),
        matches: filter.matches.clone(),
        priority: filter.priority,
    };
    wire::TableEntry {
        action,
        metadata: filter.metadata.clone().into(),
        is_default_action: filter.default_entry,
        counter_data: filter.counters.then(wire::CounterData::default),
        time_since_last_hit: filter
            .last_hit
            .then(wire::table_entry::IdleTimeout::default),
        meter_config: filter.meters.then(wire::MeterConfig::default),
        meter_counter_data: filter.meter_counters.then(wire::MeterCounterData::default),
        ..encode_key(&key)
    }
}

/// Decodes one request of a read.
///
/// # Errors
///
/// What [`decode_filter`] refuses, an entity that is missing, and one that the switch does not have (`UNIMPLEMENTED`).
pub fn decode_query(schema: &Schema, entity: &wire::Entity) -> Result<Query, EntryError> {
    match &entity.entity {
        Some(Entity::TableEntry(entry)) => Ok(Query::Entries(decode_filter(schema, entry)?)),
        Some(Entity::DirectCounterEntry(counter)) => {
            let filter = match &counter.table_entry {
                Some(entry) => decode_filter(schema, entry)?,
                None => EntryFilter::default(),
            };
            Ok(Query::Counters(filter))
        }
        Some(Entity::PacketReplicationEngineEntry(entry)) => match &entry.r#type {
            Some(Replication::MulticastGroupEntry(group)) => Ok(Query::Groups(
                Some(MulticastGroupId(group.multicast_group_id)).filter(|id| id.0 != 0),
            )),
            Some(Replication::CloneSessionEntry(session)) => Ok(Query::Sessions(
                Some(CloneSessionId(session.session_id)).filter(|id| id.0 != 0),
            )),
            None => Err(EntryError::NoEntity),
        },
        Some(Entity::DirectMeterEntry(meter)) => {
            let filter = match &meter.table_entry {
                Some(entry) => decode_filter(schema, entry)?,
                None => EntryFilter::default(),
            };
            Ok(Query::EntryMeters(EntryFilter {
                meters: true,
                meter_counters: meter.counter_data.is_some(),
                ..filter
            }))
        }
        Some(Entity::MeterEntry(entry)) => Ok(Query::Meters {
            cells: meter_cells(schema, entry)?,
            counters: entry.counter_data.is_some(),
        }),
        Some(Entity::CounterEntry(entry)) => Ok(Query::CounterCells(counter_cells(schema, entry)?)),
        Some(Entity::ActionProfileMember(member)) => Ok(Query::Members {
            profile: wanted_profile(schema, member.action_profile_id, member.member_id)?,
            id: Some(MemberId(member.member_id)).filter(|id| id.0 != 0),
        }),
        Some(Entity::ActionProfileGroup(group)) => {
            let profile = wanted_profile(schema, group.action_profile_id, group.group_id)?;
            if let Some(id) = profile {
                with_selector(self::profile(schema, id.0)?)?;
            }
            Ok(Query::ProfileGroups {
                profile,
                id: Some(ProfileGroupId(group.group_id)).filter(|id| id.0 != 0),
            })
        }
        None => Err(EntryError::NoEntity),
        Some(other) => Err(unsupported(other)),
    }
}

/// Encodes one request of a read.
pub fn encode_query(query: &Query) -> wire::Entity {
    let entity = match query {
        Query::Entries(filter) => Entity::TableEntry(encode_filter(filter)),
        Query::Counters(filter) => Entity::DirectCounterEntry(wire::DirectCounterEntry {
            table_entry: Some(encode_filter(filter)),
            ..wire::DirectCounterEntry::default()
        }),
        Query::Groups(id) => {
            let group = wire::MulticastGroupEntry {
                multicast_group_id: id.unwrap_or_default().0,
                ..wire::MulticastGroupEntry::default()
            };
            Entity::PacketReplicationEngineEntry(wire::PacketReplicationEngineEntry {
                r#type: Some(Replication::MulticastGroupEntry(group)),
            })
        }
        Query::EntryMeters(filter) => Entity::DirectMeterEntry(wire::DirectMeterEntry {
            table_entry: Some(wire::TableEntry {
                meter_config: None,
                meter_counter_data: None,
                ..encode_filter(filter)
            }),
            config: None,
            counter_data: filter.meter_counters.then(wire::MeterCounterData::default),
        }),
        Query::Meters { cells, counters } => Entity::MeterEntry(wire::MeterEntry {
            meter_id: cells.array.unwrap_or_default().0,
            index: cells.index.map(index),
            counter_data: counters.then(wire::MeterCounterData::default),
            ..wire::MeterEntry::default()
        }),
        Query::CounterCells(cells) => Entity::CounterEntry(wire::CounterEntry {
            counter_id: cells.array.unwrap_or_default().0,
            index: cells.index.map(index),
            ..wire::CounterEntry::default()
        }),
        Query::Sessions(id) => {
            let session = wire::CloneSessionEntry {
                session_id: id.unwrap_or_default().0,
                ..wire::CloneSessionEntry::default()
            };
            Entity::PacketReplicationEngineEntry(wire::PacketReplicationEngineEntry {
                r#type: Some(Replication::CloneSessionEntry(session)),
            })
        }
        Query::Members { profile, id } => Entity::ActionProfileMember(wire::ActionProfileMember {
            action_profile_id: profile.unwrap_or_default().0,
            member_id: id.unwrap_or_default().0,
            action: None,
        }),
        Query::ProfileGroups { profile, id } => {
            Entity::ActionProfileGroup(wire::ActionProfileGroup {
                action_profile_id: profile.unwrap_or_default().0,
                group_id: id.unwrap_or_default().0,
                ..wire::ActionProfileGroup::default()
            })
        }
    };
    wire::Entity {
        entity: Some(entity),
    }
}

/// The error for an entity that the switch does not have.
pub(super) fn unsupported(entity: &Entity) -> EntryError {
    let what = match entity {
        Entity::ExternEntry(_) => "extern_entry",
        Entity::TableEntry(_) => "table_entry",
        Entity::ActionProfileMember(_) => "action_profile_member",
        Entity::ActionProfileGroup(_) => "action_profile_group",
        Entity::MeterEntry(_) => "meter_entry",
        Entity::DirectMeterEntry(_) => "direct_meter_entry",
        Entity::CounterEntry(_) => "counter_entry",
        Entity::DirectCounterEntry(_) => "direct_counter_entry",
        Entity::PacketReplicationEngineEntry(_) => "packet_replication_engine_entry",
        Entity::ValueSetEntry(_) => "value_set_entry",
        Entity::RegisterEntry(_) => "register_entry",
        Entity::DigestEntry(_) => "digest_entry",
    };
    EntryError::Unsupported { what }
}

/// The profile of a read; `None` for all, of which an id would mean nothing.
fn wanted_profile(schema: &Schema, profile: u32, id: u32) -> Result<Option<ProfileId>, EntryError> {
    match (profile, id) {
        (0, 0) => Ok(None),
        (profile, _) => Ok(Some(self::profile(schema, profile)?.id)),
    }
}

fn priority(table: &TableSchema, priority: i32) -> Result<i32, EntryError> {
    if priority < 0 {
        return Err(EntryError::PriorityMissing {
            table: table.name.clone(),
            priority,
        });
    }
    Ok(priority)
}

fn action(
    table: &TableSchema,
    action: Option<&wire::TableAction>,
) -> Result<Option<ActionId>, EntryError> {
    let Some(action) = action else {
        return Ok(None);
    };
    match &action.r#type {
        None => Ok(None),
        Some(Type::Action(call)) if table.profile.is_none() => {
            let id = ActionId(call.action_id);
            if table.action(id).is_none() {
                return Err(EntryError::UnknownAction {
                    table: table.name.clone(),
                    id,
                });
            }
            if !call.params.is_empty() {
                return Err(EntryError::Unsupported {
                    what: "a filter by action arguments",
                });
            }
            Ok(Some(id))
        }
        Some(_) => Err(EntryError::Unsupported {
            what: "a filter by members of an action profile",
        }),
    }
}
