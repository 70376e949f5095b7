//! One update of a write, with the rules that depend on its type (P4Runtime §9.1, §12).

use super::array::{clears, counter_cells, index, meter_cells, only_modified, value};
use super::entry::{counter_value, encode_key, has_meter, key, table};
use super::filter::unsupported;
use super::group::{group_id, session_id};
use super::profile::{member_id, profile_group_id};
use super::{
    EntryError, counter_data, decode_counter, decode_entry, decode_group, decode_member,
    decode_profile_group, decode_session, encode_entry, encode_group, encode_member,
    encode_meter_config, encode_profile_group, encode_session, meter_config,
};
use crate::p4::v1 as wire;
use crate::p4::v1::packet_replication_engine_entry::Type as Replication;
use crate::p4::v1::{entity, update};
use crate::schema::{Schema, TableSchema};
use crate::status::UpdateError;
use crate::vocab::{
    ActionCall, CloneSession, CounterId, CounterValue, EntryKey, MeterConfig, MeterId,
    MulticastGroup, ProfileGroup, ProfileMember, TableEntry,
};

/// What an update does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpdateKind {
    /// Adds what must not be there.
    Insert,
    /// Replaces what must be there.
    Modify,
    /// Removes what must be there.
    Delete,
}

/// What an update is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entity {
    /// A table entry. In a deletion only the key counts and the rest is empty. A modification without an action
    /// keeps the action, or resets it where this is the default entry.
    Entry {
        /// The entry.
        entry: TableEntry,
        /// The value to which the counter is set; `None` keeps it, and is zero for a new entry.
        counter: Option<CounterValue>,
        /// What its meter is configured to; `None` makes every packet green.
        meter: Option<MeterConfig>,
        /// The meter's counters are set to zero.
        clear: bool,
    },
    /// A multicast group. In a deletion only the id counts.
    Group(MulticastGroup),
    /// A clone session. In a deletion only the id counts.
    Session(CloneSession),
    /// A member of an action profile. In a deletion only the ids count.
    Member(ProfileMember),
    /// A group of an action selector. In a deletion only the ids count.
    ProfileGroup(ProfileGroup),
    /// The direct counter of an entry; only modified.
    Counter {
        /// The entry's key.
        key: EntryKey,
        /// The entry is the table's default entry.
        is_default: bool,
        /// The value to which it is set; `None` keeps it.
        value: Option<CounterValue>,
    },
    /// A cell of a meter that belongs to no table; only modified.
    Meter {
        /// The meter.
        meter: MeterId,
        /// The cell; `None` for all.
        index: Option<u32>,
        /// Its configuration; `None` makes every packet green.
        config: Option<MeterConfig>,
        /// Its counters are set to zero.
        clear: bool,
    },
    /// The meter of an entry; only modified.
    EntryMeter {
        /// The entry's key.
        key: EntryKey,
        /// The entry is the table's default entry.
        is_default: bool,
        /// Its configuration; `None` makes every packet green.
        config: Option<MeterConfig>,
        /// Its counters are set to zero.
        clear: bool,
    },
    /// A cell of a counter that belongs to no table; only modified.
    CounterCell {
        /// The counter.
        counter: CounterId,
        /// The cell; `None` for all.
        index: Option<u32>,
        /// The value to which it is set; `None` keeps it.
        value: Option<CounterValue>,
    },
}

/// One update of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// What it does.
    pub kind: UpdateKind,
    /// To what.
    pub entity: Entity,
}

/// Decodes an update.
///
/// # Errors
///
/// What the schema or the specification does not allow, without regard to what the switch holds.
pub fn decode_update(schema: &Schema, update: &wire::Update) -> Result<Update, UpdateError> {
    let kind = match update.r#type() {
        update::Type::Insert => UpdateKind::Insert,
        update::Type::Modify => UpdateKind::Modify,
        update::Type::Delete => UpdateKind::Delete,
        update::Type::Unspecified => return Err(EntryError::NoUpdateType.into()),
    };
    let entity = update
        .entity
        .as_ref()
        .and_then(|entity| entity.entity.as_ref())
        .ok_or(EntryError::NoEntity)?;
    let entity = match entity {
        entity::Entity::TableEntry(entry) => table_entry(schema, kind, entry)?,
        entity::Entity::DirectCounterEntry(counter) => direct_counter(schema, kind, counter)?,
        entity::Entity::PacketReplicationEngineEntry(entry) => replication(kind, entry)?,
        entity::Entity::DirectMeterEntry(entry) => direct_meter(schema, kind, entry)?,
        entity::Entity::MeterEntry(entry) => meter(schema, kind, entry)?,
        entity::Entity::CounterEntry(entry) => counter_cell(schema, kind, entry)?,
        entity::Entity::ActionProfileMember(member) => {
            Entity::Member(profile_member(schema, kind, member)?)
        }
        entity::Entity::ActionProfileGroup(group) => {
            Entity::ProfileGroup(profile_group(schema, kind, group)?)
        }
        other => return Err(unsupported(other).into()),
    };
    Ok(Update { kind, entity })
}

/// Encodes an update.
pub fn encode_update(schema: &Schema, update: &Update) -> wire::Update {
    let kind = match update.kind {
        UpdateKind::Insert => update::Type::Insert,
        UpdateKind::Modify => update::Type::Modify,
        UpdateKind::Delete => update::Type::Delete,
    };
    let entity = match &update.entity {
        Entity::Entry {
            entry,
            counter,
            meter,
            clear,
        } => entity::Entity::TableEntry(wire::TableEntry {
            meter_config: meter.map(encode_meter_config),
            meter_counter_data: clear.then(wire::MeterCounterData::default),
            counter_data: counter.map(counter_data),
            // A switch refuses a write that says "constant"; it is for answers.
            is_const: false,
            ..encode_entry(schema, entry)
        }),
        Entity::Group(group) => {
            entity::Entity::PacketReplicationEngineEntry(wire::PacketReplicationEngineEntry {
                r#type: Some(Replication::MulticastGroupEntry(encode_group(group))),
            })
        }
        Entity::Session(session) => {
            entity::Entity::PacketReplicationEngineEntry(wire::PacketReplicationEngineEntry {
                r#type: Some(Replication::CloneSessionEntry(encode_session(session))),
            })
        }
        Entity::Member(member) => entity::Entity::ActionProfileMember(encode_member(member)),
        Entity::ProfileGroup(group) => {
            entity::Entity::ActionProfileGroup(encode_profile_group(group))
        }
        Entity::Counter {
            key,
            is_default,
            value,
        } => entity::Entity::DirectCounterEntry(wire::DirectCounterEntry {
            table_entry: Some(wire::TableEntry {
                is_default_action: *is_default,
                ..encode_key(key)
            }),
            data: value.map(counter_data),
        }),
        Entity::Meter {
            meter,
            index: cell,
            config,
            clear,
        } => entity::Entity::MeterEntry(wire::MeterEntry {
            meter_id: meter.0,
            index: cell.map(index),
            config: config.map(encode_meter_config),
            counter_data: clear.then(wire::MeterCounterData::default),
        }),
        Entity::EntryMeter {
            key,
            is_default,
            config,
            clear,
        } => entity::Entity::DirectMeterEntry(wire::DirectMeterEntry {
            table_entry: Some(wire::TableEntry {
                is_default_action: *is_default,
                ..encode_key(key)
            }),
            config: config.map(encode_meter_config),
            counter_data: clear.then(wire::MeterCounterData::default),
        }),
        Entity::CounterCell {
            counter,
            index: cell,
            value,
        } => entity::Entity::CounterEntry(wire::CounterEntry {
            counter_id: counter.0,
            index: cell.map(index),
            data: value.map(counter_data),
        }),
    };
    wire::Update {
        r#type: kind.into(),
        entity: Some(wire::Entity {
            entity: Some(entity),
        }),
    }
}

fn table_entry(
    schema: &Schema,
    kind: UpdateKind,
    entry: &wire::TableEntry,
) -> Result<Entity, EntryError> {
    let table = table(schema, entry.table_id)?;
    check_kind(table, kind, entry)?;
    if kind == UpdateKind::Delete {
        let entry = TableEntry {
            key: key(table, entry)?,
            action: None,
            metadata: Vec::new(),
            is_default: false,
            idle_timeout_ns: 0,
        };
        return Ok(Entity::Entry {
            entry,
            counter: None,
            meter: None,
            clear: false,
        });
    }
    if entry.time_since_last_hit.is_some() {
        return Err(EntryError::ReadOnly {
            field: "time_since_last_hit",
        });
    }
    Ok(Entity::Entry {
        entry: decode_entry(schema, entry)?,
        counter: decode_counter(schema, entry)?,
        meter: entry.meter_config.as_ref().map(meter_config).transpose()?,
        clear: clears(entry.meter_counter_data.as_ref())?,
    })
}

fn check_kind(
    table: &TableSchema,
    kind: UpdateKind,
    entry: &wire::TableEntry,
) -> Result<(), EntryError> {
    let name = || table.name.clone();
    if entry.is_const {
        return Err(EntryError::ReadOnly { field: "is_const" });
    }
    if entry.is_default_action {
        if kind != UpdateKind::Modify {
            return Err(EntryError::DefaultOnlyModified { table: name() });
        }
        if table.const_default.is_some() {
            return Err(EntryError::ConstDefault { table: name() });
        }
        return Ok(());
    }
    if table.is_const && (kind != UpdateKind::Modify || entry.action.is_some()) {
        return Err(EntryError::ConstTable { table: name() });
    }
    if kind == UpdateKind::Insert {
        if table.fields.is_empty() {
            return Err(EntryError::Keyless { table: name() });
        }
        if entry.action.is_none() {
            return Err(EntryError::ActionMissing { table: name() });
        }
    }
    Ok(())
}

fn direct_counter(
    schema: &Schema,
    kind: UpdateKind,
    counter: &wire::DirectCounterEntry,
) -> Result<Entity, EntryError> {
    if kind != UpdateKind::Modify {
        return Err(EntryError::CounterOnlyModified);
    }
    let entry = counter.table_entry.as_ref().ok_or(EntryError::NoEntity)?;
    let table = table(schema, entry.table_id)?;
    if !table.counters {
        return Err(EntryError::NoCounter {
            table: table.name.clone(),
        });
    }
    Ok(Entity::Counter {
        key: key(table, entry)?,
        is_default: entry.is_default_action,
        value: counter
            .data
            .as_ref()
            .map(|data| counter_value(table, data))
            .transpose()?,
    })
}

fn meter(
    schema: &Schema,
    kind: UpdateKind,
    entry: &wire::MeterEntry,
) -> Result<Entity, EntryError> {
    only_modified(kind, "meter")?;
    let cells = meter_cells(schema, entry)?;
    Ok(Entity::Meter {
        meter: cells.array.ok_or(EntryError::UnknownArray {
            kind: "meter",
            id: 0,
        })?,
        index: cells.index,
        config: entry.config.as_ref().map(meter_config).transpose()?,
        clear: clears(entry.counter_data.as_ref())?,
    })
}

fn direct_meter(
    schema: &Schema,
    kind: UpdateKind,
    meter: &wire::DirectMeterEntry,
) -> Result<Entity, EntryError> {
    only_modified(kind, "direct meter")?;
    let entry = meter.table_entry.as_ref().ok_or(EntryError::NoEntity)?;
    let table = table(schema, entry.table_id)?;
    has_meter(table)?;
    Ok(Entity::EntryMeter {
        key: key(table, entry)?,
        is_default: entry.is_default_action,
        config: meter.config.as_ref().map(meter_config).transpose()?,
        clear: clears(meter.counter_data.as_ref())?,
    })
}

fn counter_cell(
    schema: &Schema,
    kind: UpdateKind,
    entry: &wire::CounterEntry,
) -> Result<Entity, EntryError> {
    only_modified(kind, "counter")?;
    let cells = counter_cells(schema, entry)?;
    Ok(Entity::CounterCell {
        counter: cells.array.ok_or(EntryError::UnknownArray {
            kind: "counter",
            id: 0,
        })?,
        index: cells.index,
        value: entry.data.as_ref().map(value).transpose()?,
    })
}

fn profile_member(
    schema: &Schema,
    kind: UpdateKind,
    member: &wire::ActionProfileMember,
) -> Result<ProfileMember, EntryError> {
    if kind != UpdateKind::Delete {
        return decode_member(schema, member);
    }
    let (profile, id) = member_id(schema, member)?;
    Ok(ProfileMember {
        profile: profile.id,
        id,
        call: ActionCall::default(),
    })
}

fn profile_group(
    schema: &Schema,
    kind: UpdateKind,
    group: &wire::ActionProfileGroup,
) -> Result<ProfileGroup, EntryError> {
    if kind != UpdateKind::Delete {
        return decode_profile_group(schema, group);
    }
    let (profile, id) = profile_group_id(schema, group)?;
    Ok(ProfileGroup {
        profile: profile.id,
        id,
        members: Vec::new(),
        max_size: 0,
    })
}

fn replication(
    kind: UpdateKind,
    entry: &wire::PacketReplicationEngineEntry,
) -> Result<Entity, UpdateError> {
    match &entry.r#type {
        Some(Replication::MulticastGroupEntry(group)) => Ok(Entity::Group(match kind {
            UpdateKind::Delete => MulticastGroup {
                id: group_id(group)?,
                ..MulticastGroup::default()
            },
            UpdateKind::Insert | UpdateKind::Modify => decode_group(group)?,
        })),
        Some(Replication::CloneSessionEntry(session)) => Ok(Entity::Session(match kind {
            UpdateKind::Delete => CloneSession {
                id: session_id(session)?,
                ..CloneSession::default()
            },
            UpdateKind::Insert | UpdateKind::Modify => decode_session(session)?,
        })),
        None => Err(EntryError::NoEntity.into()),
    }
}
