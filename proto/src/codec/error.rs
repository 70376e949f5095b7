//! Why a message is no valid entry, group or packet metadata.

use tonic::Code;

use crate::bytes::ByteStringError;
use crate::vocab::{ActionId, FieldId, MatchKind, MemberId, ParamId, PortNo, ProfileId, TableId};

/// Why a table entry, or a filter for entries, was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The pipeline has no such table.
    #[error("there is no table {:#010x}", id.0)]
    UnknownTable {
        /// The id asked for.
        id: TableId,
    },
    /// The table's key has no such field.
    #[error("table `{table}` has no key field {id}")]
    UnknownField {
        /// The table.
        table: String,
        /// The id asked for.
        id: FieldId,
    },
    /// A key field is there twice.
    #[error("`{table}.{field}` is matched twice")]
    DuplicateField {
        /// The table.
        table: String,
        /// The field.
        field: String,
    },
    /// An exact field is missing; there is no don't-care for it.
    #[error("`{table}.{field}` is an exact field and is missing")]
    MissingField {
        /// The table.
        table: String,
        /// The field.
        field: String,
    },
    /// The match is of another kind than the field, or of none.
    #[error("`{table}.{field}` wants a match of kind {expected:?}")]
    WrongKind {
        /// The table.
        table: String,
        /// The field.
        field: String,
        /// The declared kind.
        expected: MatchKind,
    },
    /// A value of a field or of an argument is none, or is too wide.
    #[error("bad value for `{object}`: {error}")]
    Value {
        /// `table.field` or `action.parameter`.
        object: String,
        /// What is wrong with it.
        error: ByteStringError,
    },
    /// A don't-care match must be left out.
    #[error("`{table}.{field}` matches everything; leave it out")]
    DontCare {
        /// The table.
        table: String,
        /// The field.
        field: String,
    },
    /// Bits that do not count are not zero.
    #[error("`{table}.{field}` has bits outside its mask or prefix; they must be zero")]
    StrayBits {
        /// The table.
        table: String,
        /// The field.
        field: String,
    },
    /// A prefix length is outside the field.
    #[error("`{table}.{field}` has prefix length {prefix_len}; 1 to {bits} are possible")]
    PrefixLength {
        /// The table.
        table: String,
        /// The field.
        field: String,
        /// The length asked for.
        prefix_len: i32,
        /// The field's width.
        bits: u16,
    },
    /// The bounds of a range are the wrong way round.
    #[error("`{table}.{field}` has a lower bound above its upper bound")]
    EmptyRange {
        /// The table.
        table: String,
        /// The field.
        field: String,
    },
    /// The table's entries need a priority of 1 or more.
    #[error("table `{table}` wants a priority from 1 to 2147483647, not {priority}")]
    PriorityMissing {
        /// The table.
        table: String,
        /// What was there.
        priority: i32,
    },
    /// The table's entries have no priority.
    #[error("table `{table}` wants priority 0, not {priority}: it has exact and lpm fields only")]
    PriorityUnwanted {
        /// The table.
        table: String,
        /// What was there.
        priority: i32,
    },
    /// A default entry has a match or a priority.
    #[error("the default entry of table `{table}` has no match and priority 0")]
    DefaultWithKey {
        /// The table.
        table: String,
    },
    /// A default entry can only be modified.
    #[error("the default entry of table `{table}` can only be modified")]
    DefaultOnlyModified {
        /// The table.
        table: String,
    },
    /// The table's default action is constant.
    #[error("the default action of table `{table}` is constant")]
    ConstDefault {
        /// The table.
        table: String,
    },
    /// The table's entries are constant.
    #[error("the entries of table `{table}` are constant")]
    ConstTable {
        /// The table.
        table: String,
    },
    /// The table has no key, so its default entry is all there is.
    #[error("table `{table}` has no key, so it has its default entry only")]
    Keyless {
        /// The table.
        table: String,
    },
    /// A new entry has no action.
    #[error("an entry of table `{table}` wants an action")]
    ActionMissing {
        /// The table.
        table: String,
    },
    /// The table does not allow the action.
    #[error("table `{table}` has no action {:#010x}", id.0)]
    UnknownAction {
        /// The table.
        table: String,
        /// The id asked for.
        id: ActionId,
    },
    /// The table allows the action, but not here.
    #[error("table `{table}` allows action `{action}` only in {allowed}")]
    ActionScope {
        /// The table.
        table: String,
        /// The action.
        action: String,
        /// Where it is allowed.
        allowed: &'static str,
    },
    /// The table has no selector but the entry has a set of actions, or the other way round.
    #[error("table `{table}` wants {expected}")]
    ActionShape {
        /// The table.
        table: String,
        /// What the table wants.
        expected: &'static str,
    },
    /// The action has no such parameter.
    #[error("action `{action}` has no parameter {id}")]
    UnknownParam {
        /// The action.
        action: String,
        /// The id asked for.
        id: ParamId,
    },
    /// An argument is there twice.
    #[error("`{action}.{param}` is given twice")]
    DuplicateParam {
        /// The action.
        action: String,
        /// The parameter.
        param: String,
    },
    /// An argument is missing.
    #[error("`{action}.{param}` is missing")]
    MissingParam {
        /// The action.
        action: String,
        /// The parameter.
        param: String,
    },
    /// A weight is not possible.
    #[error("{object} has a member of weight {weight}; 1 to {max} are possible")]
    Weight {
        /// The entry's table, or the group.
        object: String,
        /// The weight asked for.
        weight: i32,
        /// The largest.
        max: i32,
    },
    /// A one-shot set or a group is too large for its selector.
    #[error("{object} has size {size}; at most {max} is possible")]
    GroupSize {
        /// The entry's table, or the group.
        object: String,
        /// Members, or the sum of their weights.
        size: u64,
        /// The selector's limit.
        max: u32,
    },
    /// A watched port is no port.
    #[error("{object} watches a port that is no number from 1")]
    WatchPort {
        /// The entry's table, or the group.
        object: String,
    },
    /// The pipeline has no such action profile.
    #[error("there is no action profile {:#010x}", id.0)]
    UnknownProfile {
        /// The id asked for.
        id: ProfileId,
    },
    /// 0 is no member and no group: in reads it stands for all.
    #[error("a {what}'s id is 1 or more")]
    ZeroId {
        /// `member` or `group`.
        what: &'static str,
    },
    /// Only selectors have groups.
    #[error("action profile `{profile}` has no selector, and so no groups")]
    NoSelector {
        /// The action profile.
        profile: String,
    },
    /// No table that uses the profile allows the action in its entries.
    #[error("members of action profile `{profile}` cannot be action {:#010x}", id.0)]
    MemberAction {
        /// The action profile.
        profile: String,
        /// The action asked for.
        id: ActionId,
    },
    /// A member has no action.
    #[error("a member of action profile `{profile}` wants an action")]
    MemberActionMissing {
        /// The action profile.
        profile: String,
    },
    /// A member is in a group twice.
    #[error("{object} has member {member} twice; its weight says how often it counts")]
    DuplicateMember {
        /// The group.
        object: String,
        /// The member.
        member: MemberId,
    },
    /// A group's largest size is not what its selector allows.
    #[error("{object} has max_size {size}; {min} to {max} are possible")]
    MaxSize {
        /// The group.
        object: String,
        /// The size asked for.
        size: i32,
        /// The smallest.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// The table's entries have no counters.
    #[error("table `{table}` has no direct counter")]
    NoCounter {
        /// The table.
        table: String,
    },
    /// A counter's value is negative.
    #[error("a counter of table `{table}` is negative")]
    NegativeCounter {
        /// The table.
        table: String,
    },
    /// The table's entries have no meters.
    #[error("table `{table}` has no direct meter")]
    NoMeter {
        /// The table.
        table: String,
    },
    /// The pipeline has no such meter or counter.
    #[error("there is no {kind} {id:#010x}")]
    UnknownArray {
        /// `meter` or `counter`.
        kind: &'static str,
        /// The id asked for.
        id: u32,
    },
    /// An index without the array that it belongs to.
    #[error("an index wants a {kind} id")]
    IndexWithoutArray {
        /// `meter` or `counter`.
        kind: &'static str,
    },
    /// An index below zero.
    #[error("{array} has no negative index")]
    NegativeIndex {
        /// The array.
        array: String,
    },
    /// An index of no cell.
    #[error("{array} has {size} cells, and none with index {index}")]
    NoCell {
        /// The array.
        array: String,
        /// The index asked for.
        index: u64,
        /// Its size.
        size: u64,
    },
    /// A meter's configuration is none.
    #[error("the meter's configuration {problem}")]
    MeterConfig {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A meter's counters can be set to zero only.
    #[error("a meter's counters can be set to zero only")]
    MeterCounters,
    /// A counter's value is negative.
    #[error("a counter is negative")]
    NegativeValue,
    /// The entity can only be modified.
    #[error("a {what} can only be modified")]
    OnlyModified {
        /// The entity.
        what: &'static str,
    },
    /// The table, or its default entry, has no idle timeout, or the timeout is negative.
    #[error("an entry of table `{table}` cannot have this idle timeout")]
    IdleTimeout {
        /// The table.
        table: String,
    },
    /// A field that only the switch sets.
    #[error("`{field}` cannot be written")]
    ReadOnly {
        /// The field of the message.
        field: &'static str,
    },
    /// Filters need a table.
    #[error("a filter wants a table id")]
    FilterWithoutTable,
    /// The message has no entity, or none of its kinds.
    #[error("the entity is missing")]
    NoEntity,
    /// The update does not say what to do.
    #[error("the update has no type")]
    NoUpdateType,
    /// A counter can only be modified.
    #[error("a direct counter can only be modified")]
    CounterOnlyModified,
    /// Not built.
    #[error("{what} is not supported")]
    Unsupported {
        /// The entity or the field.
        what: &'static str,
    },
}

impl EntryError {
    /// The status code that P4Runtime asks for.
    pub fn code(&self) -> Code {
        match self {
            Self::Value { .. } | Self::NoCell { .. } => Code::OutOfRange,
            Self::ConstDefault { .. } | Self::ConstTable { .. } | Self::ActionScope { .. } => {
                Code::PermissionDenied
            }
            Self::Unsupported { .. } => Code::Unimplemented,
            _ => Code::InvalidArgument,
        }
    }
}

/// Why a multicast group or a clone session was refused; `object` is `multicast group 3` or `clone session 3`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// 0 stands for all of them in reads.
    #[error("a {what}'s id is 1 or more")]
    Zero {
        /// `multicast group` or `clone session`.
        what: &'static str,
    },
    /// Two replicas have one port and one instance.
    #[error("{object} has port {port} with instance {instance} twice")]
    DuplicateReplica {
        /// The group or session.
        object: String,
        /// The port.
        port: PortNo,
        /// The instance.
        instance: u16,
    },
    /// A replica has no port.
    #[error("a replica of {object} has no port, or one that is no number from 1")]
    Port {
        /// The group or session.
        object: String,
    },
    /// A replica's instance is too large.
    #[error("a replica of {object} has instance {instance}; at most 65535 is possible")]
    Instance {
        /// The group or session.
        object: String,
        /// The instance asked for.
        instance: u32,
    },
    /// A replica's port is also that of one of its backups.
    #[error("{object} has port {port} as its own backup")]
    OwnBackup {
        /// The group or session.
        object: String,
        /// The port.
        port: PortNo,
    },
    /// A class of service is too large.
    #[error("{object} has class of service {class}; at most 255 is possible")]
    ClassOfService {
        /// The session.
        object: String,
        /// The class asked for.
        class: u32,
    },
    /// A length is negative.
    #[error("{object} cannot cut packets to {length} bytes")]
    PacketLength {
        /// The session.
        object: String,
        /// The length asked for.
        length: i32,
    },
}

impl GroupError {
    /// The status code that P4Runtime asks for.
    pub fn code(&self) -> Code {
        Code::InvalidArgument
    }
}

/// Why the metadata of a packet-in or packet-out was refused: each declared field wants exactly one value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// No such field is declared.
    #[error("there is no packet metadata {id}")]
    Unknown {
        /// The id asked for.
        id: u32,
    },
    /// A field is there twice.
    #[error("packet metadata `{name}` is given twice")]
    Duplicate {
        /// The field.
        name: String,
    },
    /// A field is missing.
    #[error("packet metadata `{name}` is missing")]
    Missing {
        /// The field.
        name: String,
    },
    /// A value is none, or is too wide.
    #[error("bad value for packet metadata `{name}`: {error}")]
    Value {
        /// The field.
        name: String,
        /// What is wrong with it.
        error: ByteStringError,
    },
}

impl MetadataError {
    /// The status code that P4Runtime asks for.
    pub fn code(&self) -> Code {
        match self {
            Self::Value { .. } => Code::OutOfRange,
            _ => Code::InvalidArgument,
        }
    }
}
