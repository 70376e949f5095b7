//! A pipeline's P4Info, checked once and indexed by id and by name.
//!
//! A [`Schema`] is closed: every id that one of its objects names belongs to another of its objects, and every width
//! is 1 to 128 bits. What the switch and the controller know of a pipeline's tables, they know from here.

pub mod annotations;
mod array;
mod build;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::vocab::{
    ActionCall, ActionId, CounterId, FieldId, MatchKind, MeterId, ParamId, ProfileId, TableId,
};
use crate::{bytes, p4};

pub use array::{CounterSchema, MeterSchema, MeterUnit};
pub use build::SchemaError;

/// Everything of a P4Info that entries, packets and people refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// The package's name.
    pub name: String,
    /// The package's version.
    pub version: String,
    tables: BTreeMap<TableId, TableSchema>,
    actions: BTreeMap<ActionId, ActionSchema>,
    profiles: BTreeMap<ProfileId, ProfileSchema>,
    meters: BTreeMap<MeterId, MeterSchema>,
    counters: BTreeMap<CounterId, CounterSchema>,
    tables_by_name: BTreeMap<String, TableId>,
    actions_by_name: BTreeMap<String, ActionId>,
    packet_in: Vec<MetadataSchema>,
    packet_out: Vec<MetadataSchema>,
}

impl Schema {
    /// Checks a P4Info and indexes it.
    ///
    /// # Errors
    ///
    /// The first object that is ambiguous, refers to nothing, or that we cannot represent.
    pub fn new(info: &p4::config::v1::P4Info) -> Result<Self, SchemaError> {
        build::schema(info)
    }

    /// A table by its id.
    pub fn table(&self, id: TableId) -> Option<&TableSchema> {
        self.tables.get(&id)
    }

    /// A table by its name, or by its alias.
    pub fn table_by_name(&self, name: &str) -> Option<&TableSchema> {
        self.table(*self.tables_by_name.get(name)?)
    }

    /// All tables, by id.
    pub fn tables(&self) -> impl Iterator<Item = &TableSchema> {
        self.tables.values()
    }

    /// An action by its id.
    pub fn action(&self, id: ActionId) -> Option<&ActionSchema> {
        self.actions.get(&id)
    }

    /// An action by its name, or by its alias.
    pub fn action_by_name(&self, name: &str) -> Option<&ActionSchema> {
        self.action(*self.actions_by_name.get(name)?)
    }

    /// All actions, by id.
    pub fn actions(&self) -> impl Iterator<Item = &ActionSchema> {
        self.actions.values()
    }

    /// An action profile by its id.
    pub fn profile(&self, id: ProfileId) -> Option<&ProfileSchema> {
        self.profiles.get(&id)
    }

    /// All action profiles, by id.
    pub fn profiles(&self) -> impl Iterator<Item = &ProfileSchema> {
        self.profiles.values()
    }

    /// A meter by its id.
    pub fn meter(&self, id: MeterId) -> Option<&MeterSchema> {
        self.meters.get(&id)
    }

    /// All meters that belong to no table, by id.
    pub fn meters(&self) -> impl Iterator<Item = &MeterSchema> {
        self.meters.values()
    }

    /// A counter by its id.
    pub fn counter(&self, id: CounterId) -> Option<&CounterSchema> {
        self.counters.get(&id)
    }

    /// All counters that belong to no table, by id.
    pub fn counters(&self) -> impl Iterator<Item = &CounterSchema> {
        self.counters.values()
    }

    /// What a packet-in carries, in the order of declaration.
    pub fn packet_in(&self) -> &[MetadataSchema] {
        &self.packet_in
    }

    /// What a packet-out carries, in the order of declaration.
    pub fn packet_out(&self) -> &[MetadataSchema] {
        &self.packet_out
    }
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// Its id.
    pub id: TableId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub doc: String,
    /// Its key, in the order of declaration.
    pub fields: Vec<FieldSchema>,
    /// What its entries and its default entry may do.
    pub actions: Vec<ActionRefSchema>,
    /// The profile through which entries choose actions.
    pub profile: Option<ProfileId>,
    /// Most entries.
    pub size: u64,
    /// The default action that cannot be changed.
    pub const_default: Option<ActionId>,
    /// What a miss does before anybody changes it.
    pub initial_default: Option<ActionCall>,
    /// Entries cannot be changed.
    pub is_const: bool,
    /// Each entry counts packets and bytes.
    pub counters: bool,
    /// Each entry has a meter, of this unit.
    pub meter: Option<MeterUnit>,
    /// Entries may have an idle timeout.
    pub idle_timeout: bool,
    /// Its annotations, `@…`.
    pub annotations: Vec<String>,
}

impl TableSchema {
    /// A key field by its id.
    pub fn field(&self, id: FieldId) -> Option<&FieldSchema> {
        self.fields.iter().find(|field| field.id == id)
    }

    /// A key field by its name.
    pub fn field_by_name(&self, name: &str) -> Option<&FieldSchema> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Whether, and where, the table allows an action.
    pub fn action(&self, id: ActionId) -> Option<&ActionRefSchema> {
        self.actions.iter().find(|action| action.id == id)
    }

    /// Whether entries are ordered by priority.
    pub fn needs_priority(&self) -> bool {
        self.fields.iter().any(|field| field.kind.needs_priority())
    }
}

/// A key field of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSchema {
    /// Its id within the table.
    pub id: FieldId,
    /// Its name.
    pub name: String,
    /// Its width.
    pub bits: u16,
    /// How it is compared.
    pub kind: MatchKind,
    /// How people read and write it: the argument of `@format(…)`.
    pub format: Option<String>,
    /// All its annotations, `@format` too.
    pub annotations: Vec<String>,
}

impl FieldSchema {
    /// The largest value.
    pub fn max_value(&self) -> u128 {
        bytes::max_value(self.bits)
    }
}

/// An action that a table allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionRefSchema {
    /// The action.
    pub id: ActionId,
    /// Entries may use it.
    pub in_entries: bool,
    /// The default entry may use it.
    pub as_default: bool,
}

/// An action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionSchema {
    /// Its id.
    pub id: ActionId,
    /// Its name.
    pub name: String,
    /// What it does.
    pub doc: String,
    /// Its parameters, in the order of declaration.
    pub params: Vec<ParamSchema>,
    /// Its annotations, `@…`.
    pub annotations: Vec<String>,
}

impl ActionSchema {
    /// A parameter by its id.
    pub fn param(&self, id: ParamId) -> Option<&ParamSchema> {
        self.params.iter().find(|param| param.id == id)
    }

    /// A parameter by its name.
    pub fn param_by_name(&self, name: &str) -> Option<&ParamSchema> {
        self.params.iter().find(|param| param.name == name)
    }
}

/// A parameter of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamSchema {
    /// Its id within the action.
    pub id: ParamId,
    /// Its name.
    pub name: String,
    /// Its width.
    pub bits: u16,
    /// How people read and write it: the argument of `@format(…)`.
    pub format: Option<String>,
    /// All its annotations, `@format` too.
    pub annotations: Vec<String>,
}

/// An action profile or selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileSchema {
    /// Its id.
    pub id: ProfileId,
    /// Its name.
    pub name: String,
    /// The tables that use it.
    pub tables: Vec<TableId>,
    /// It chooses among weighted actions.
    pub with_selector: bool,
    /// Most members, or weights, over all groups; 0 for no limit.
    pub size: u64,
    /// Most members, or weights, of one group; 0 for no limit.
    pub max_group_size: u32,
    /// What the two sizes count.
    pub selector_size: SelectorSize,
    /// Its annotations, `@…`.
    pub annotations: Vec<String>,
}

/// What the size of a selector, or of one of its groups, counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelectorSize {
    /// The weights.
    #[default]
    SumOfWeights,
    /// The members.
    SumOfMembers {
        /// The largest weight of a member; 0 for no limit.
        max_weight: u32,
    },
}

/// A value that travels with a packet-in or a packet-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataSchema {
    /// Its id within the header.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its width.
    pub bits: u16,
    /// How people read and write it: the argument of `@format(…)`.
    pub format: Option<String>,
}
