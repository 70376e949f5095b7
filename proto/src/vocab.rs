//! Forwarding state as plain values: ids, matches, actions, entries.
//!
//! These types carry no serde and no wire form. Field values are numbers of at most 128 bits; the width belongs to
//! the field's declaration in P4Info, not to the value.

mod profile;
mod replication;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

pub use profile::{GroupMember, ProfileGroup, ProfileMember};
pub use replication::{CloneSession, MulticastGroup, Replica};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// One switch instance, P4Runtime's `device_id`; 0 is invalid (P4Runtime §5).
    DeviceId, u64
);
id!(
    /// A switch port, 1 and up; 0 is no port.
    PortNo, u32
);
id!(
    /// A table's id, prefix 0x02 (P4Runtime §6.3).
    TableId, u32
);
id!(
    /// An action's id, prefix 0x01.
    ActionId, u32
);
id!(
    /// A key field's id, unique within its table.
    FieldId, u32
);
id!(
    /// An action parameter's id, unique within its action.
    ParamId, u32
);
id!(
    /// An action profile's or selector's id, prefix 0x11.
    ProfileId, u32
);
id!(
    /// A meter's id, prefix 0x14.
    MeterId, u32
);
id!(
    /// The id of a counter that belongs to no table, prefix 0x12.
    CounterId, u32
);
id!(
    /// The id of a member of an action profile, 1 and up, unique within it.
    MemberId, u32
);
id!(
    /// The id of a group of an action profile, 1 and up, unique within it.
    ProfileGroupId, u32
);
id!(
    /// A multicast group's id, 1 and up.
    MulticastGroupId, u32
);
id!(
    /// A clone session's id, 1 and up.
    CloneSessionId, u32
);
id!(
    /// A bid for being primary; the larger wins (P4Runtime §5).
    ElectionId, u128
);

impl PortNo {
    /// The port that stands for the controller in both directions (`SDN_PORT_CPU`).
    pub const CPU: Self = Self(0xffff_fffd);
}

/// How a table compares a key field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchKind {
    /// All bits equal.
    Exact,
    /// The longest prefix wins.
    Lpm,
    /// Equal under a mask; needs a priority.
    Ternary,
    /// Within two bounds, both included; needs a priority.
    Range,
    /// All bits equal, or don't-care; needs a priority.
    Optional,
}

impl MatchKind {
    /// Whether a table with such a field orders its entries by priority.
    pub fn needs_priority(self) -> bool {
        matches!(self, Self::Ternary | Self::Range | Self::Optional)
    }
}

/// The match on one key field. Don't-care fields are left out of the entry, so no variant means "any".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldMatch {
    /// All bits of `0` equal.
    Exact(u128),
    /// The first `prefix_len` bits (1 to the width) equal; the other bits of `value` are zero.
    Lpm {
        /// The prefix.
        value: u128,
        /// Its length in bits.
        prefix_len: u16,
    },
    /// Equal under `mask`, which is not zero; bits of `value` outside it are zero.
    Ternary {
        /// The value under the mask.
        value: u128,
        /// Which bits count.
        mask: u128,
    },
    /// `low..=high`, not the whole domain.
    Range {
        /// Lower bound.
        low: u128,
        /// Upper bound.
        high: u128,
    },
    /// All bits equal.
    Optional(u128),
}

/// The key of an entry: P4Runtime's identity of an entry is match and priority (§9.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// The table.
    pub table: TableId,
    /// Fields that count; a field that is absent is don't-care.
    pub matches: BTreeMap<FieldId, FieldMatch>,
    /// 1 and up, larger wins, where the table needs one; else 0.
    pub priority: i32,
}

/// A named action with its arguments, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionCall {
    /// The action.
    pub action: ActionId,
    /// One value for each parameter, sorted by id.
    pub params: Vec<(ParamId, u128)>,
}

/// One member of a one-shot selector group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightedAction {
    /// What the member does.
    pub call: ActionCall,
    /// 1 and up.
    pub weight: u32,
    /// The member counts only while this port is up.
    pub watch_port: Option<PortNo>,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableAction {
    /// One action.
    Call(ActionCall),
    /// A one-shot selector group: one member is chosen for each flow.
    OneShot(Vec<WeightedAction>),
    /// A member of the table's action profile.
    Member(MemberId),
    /// A group of the table's action selector: one member is chosen for each flow.
    Group(ProfileGroupId),
}

impl From<ActionCall> for TableAction {
    fn from(call: ActionCall) -> Self {
        Self::Call(call)
    }
}

/// One table entry. A default entry has an empty match, priority 0 and `is_default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// Which packets.
    pub key: EntryKey,
    /// What they get; `None` only in updates: a default entry that is reset, an entry that keeps its action or goes.
    pub action: Option<TableAction>,
    /// Opaque to the switch, returned on read; the controller keeps owner and intent here.
    pub metadata: Vec<u8>,
    /// This is the table's default entry.
    pub is_default: bool,
    /// 0 is never, else nanoseconds without a hit after which the primary is told.
    pub idle_timeout_ns: i64,
}

/// Packets and bytes, as P4Runtime counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterValue {
    /// Wire segments.
    pub packets: u64,
    /// From destination MAC to payload, without labels or tags that the fabric added.
    pub bytes: u64,
}

/// Two rates, a second, with their bursts, in the meter's unit (RFC 2698).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterConfig {
    /// Committed rate: up to it packets are green.
    pub cir: u64,
    /// What may come at once and is green still; 1 and up.
    pub cburst: u64,
    /// Peak rate: up to it packets are yellow; the committed rate at least.
    pub pir: u64,
    /// What may come at once and is not red; 1 and up.
    pub pburst: u64,
}

/// One cell of a meter that belongs to no table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterCell {
    /// The meter.
    pub meter: MeterId,
    /// The cell, from 0.
    pub index: u32,
    /// Its configuration; `None` says that every packet is green.
    pub config: Option<MeterConfig>,
}

/// What a meter said, by colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterCounters {
    /// Within the committed rate.
    pub green: CounterValue,
    /// Above it, within the peak rate.
    pub yellow: CounterValue,
    /// Above the peak rate.
    pub red: CounterValue,
}

/// A MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The number that match fields carry.
    pub fn to_bits(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The reverse of [`Self::to_bits`]; the upper 16 bits are ignored.
    pub fn from_bits(bits: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
        Self([a, b, c, d, e, f])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    /// Six pairs of hexadecimal digits with colons (or hyphens) between them.
    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let digits = parts.next().ok_or(ParseMacError)?;
            if digits.len() != 2 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *byte = u8::from_str_radix(digits, 16).map_err(|_| ParseMacError)?;
        }
        match parts.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(ParseMacError),
        }
    }
}

/// The text is no MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a MAC address, for example 02:00:00:00:00:01")]
pub struct ParseMacError;
