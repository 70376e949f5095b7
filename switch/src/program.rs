//! A pipeline that was checked: names resolved, widths verified, ids given. Only this can be executed.
//!
//! [`Program::new`] lowers the names of an [`ir::Pipeline`] to places: each header, stack element and metadata field
//! has a constant offset in one byte arena, each table, action and control node an index. What follows (parser,
//! interpreter, state) trusts those and checks nothing again.

mod array;
mod control;
mod describe;
mod expr;
mod layout;
mod lower;
mod parser;
mod table;

use weft_proto::p4::config::v1::P4Info;
use weft_proto::schema::Schema;
use weft_proto::vocab::{CounterId, MeterId, ProfileId, TableEntry, TableId};

use crate::bits::Slot;
use crate::drops::DropReason;
use crate::ir;
use crate::{p4info, table::KeyLayout};

pub(crate) use describe::HeaderField;
pub(crate) use layout::Layout;

/// Most header instances, each stack element counted.
pub const MAX_HEADERS: usize = 128;
/// Most header stacks.
pub const MAX_STACKS: usize = 16;
/// Most checksums.
pub const MAX_CHECKSUMS: usize = 32;
/// Most select keys of a parser state.
pub const MAX_SELECT_KEYS: usize = 8;
/// Most parameters of an action.
pub const MAX_PARAMS: usize = 128;
/// Most parser states, and most nodes of a control.
pub const MAX_NODES: usize = 1 << 15;
/// Most meters, and most counter arrays.
pub const MAX_ARRAYS: usize = 1 << 12;
/// Most cells of a meter or of a counter array.
pub const MAX_CELLS: u32 = 1 << 20;
/// Most key fields of a table.
pub const MAX_KEYS: usize = 128;

/// One mistake in a pipeline; each names the object that has it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {problem}")]
pub struct ProgramError {
    /// What has the mistake, for example `table routes, key dst`.
    pub object: String,
    /// The mistake.
    pub problem: String,
}

/// An executable pipeline.
#[derive(Debug)]
pub struct Program {
    pipeline: ir::Pipeline,
    p4info: P4Info,
    schema: Schema,
    drop_reasons: Vec<String>,
    pub(crate) layout: Layout,
    pub(crate) parser: Vec<ParserState>,
    pub(crate) actions: Vec<Box<[Instr]>>,
    pub(crate) tables: Vec<TableDef>,
    pub(crate) selectors: Vec<SelectorDef>,
    pub(crate) meters: Vec<MeterDef>,
    pub(crate) counters: Vec<CounterDef>,
    pub(crate) ingress: Control,
    pub(crate) egress: Control,
    /// Headers in the order in which they are emitted.
    pub(crate) deparser: Box<[u8]>,
    /// The same as a set.
    pub(crate) emitted: u128,
    pub(crate) checksums: Vec<ChecksumDef>,
    pub(crate) packet_in: Vec<Slot>,
    pub(crate) packet_out: Vec<Slot>,
    /// Headers that counters leave out, as a set.
    pub(crate) uncounted: u128,
    /// Headers that the MTU leaves out, as a set; contains `uncounted`.
    pub(crate) below_ip: u128,
}

impl Program {
    /// Checks and compiles a pipeline.
    ///
    /// # Errors
    ///
    /// All mistakes that were found.
    pub fn new(pipeline: ir::Pipeline) -> Result<Self, Vec<ProgramError>> {
        let lowered = lower::lower(&pipeline)?;
        let p4info = p4info::generate(
            &pipeline,
            &lowered.tables,
            &lowered.packet_in,
            &lowered.packet_out,
        );
        let schema = Schema::new(&p4info).map_err(|error| {
            vec![ProgramError {
                object: "P4Info".into(),
                problem: error.to_string(),
            }]
        })?;
        Ok(Self {
            p4info,
            schema,
            drop_reasons: lowered.drop_reasons,
            layout: lowered.layout,
            parser: lowered.parser,
            actions: lowered.actions,
            tables: lowered.tables,
            selectors: lowered.selectors,
            meters: lowered.meters,
            counters: lowered.counters,
            ingress: lowered.ingress,
            egress: lowered.egress,
            emitted: lowered
                .deparser
                .iter()
                .fold(0, |set, header| set | 1 << header),
            deparser: lowered.deparser,
            checksums: lowered.checksums,
            packet_in: lowered.packet_in,
            packet_out: lowered.packet_out,
            uncounted: lowered.uncounted,
            below_ip: lowered.below_ip,
            pipeline,
        })
    }

    /// What it was compiled from.
    pub fn pipeline(&self) -> &ir::Pipeline {
        &self.pipeline
    }

    /// The control plane's view of it.
    pub fn p4info(&self) -> &P4Info {
        &self.p4info
    }

    /// The same, indexed.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Names of all drop reasons, indexed by [`DropReason`].
    pub fn drop_reasons(&self) -> &[String] {
        &self.drop_reasons
    }

    /// The name of a drop reason.
    pub fn drop_name(&self, reason: DropReason) -> &str {
        self.drop_reasons
            .get(usize::from(reason.0))
            .map_or("unknown", String::as_str)
    }

    /// A field's place.
    #[cfg(test)]
    pub(crate) fn field(&self, name: &str) -> Option<Slot> {
        let mut errors = lower::Errors::default();
        let names = layout::Names::new(&self.pipeline, &mut errors);
        Some(names.field(name).ok()?.slot)
    }

    /// A meter's index.
    pub(crate) fn meter_index(&self, id: MeterId) -> Option<usize> {
        let index = usize::try_from(id.0 ^ p4info::METER).ok()?.checked_sub(1)?;
        (index < self.meters.len()).then_some(index)
    }

    /// A counter's index.
    pub(crate) fn counter_index(&self, id: CounterId) -> Option<usize> {
        let index = usize::try_from(id.0 ^ p4info::COUNTER)
            .ok()?
            .checked_sub(1)?;
        (index < self.counters.len()).then_some(index)
    }

    /// An action profile's index.
    pub(crate) fn selector_index(&self, id: ProfileId) -> Option<usize> {
        let index = usize::try_from(id.0 ^ p4info::PROFILE)
            .ok()?
            .checked_sub(1)?;
        (index < self.selectors.len()).then_some(index)
    }

    /// A table's index.
    pub(crate) fn table_index(&self, id: TableId) -> Option<usize> {
        let index = usize::try_from(id.0 ^ p4info::TABLE).ok()?.checked_sub(1)?;
        (index < self.tables.len()).then_some(index)
    }
}

/// A parser state; indices equal to [`ParserState::ACCEPT`] or above are final.
#[derive(Debug)]
pub(crate) struct ParserState {
    pub(crate) extract: Box<[Extract]>,
    pub(crate) select: Box<[Select]>,
    pub(crate) cases: Box<[Case]>,
    pub(crate) default: u16,
}

impl ParserState {
    pub(crate) const ACCEPT: u16 = 0xfffe;
    pub(crate) const REJECT: u16 = 0xffff;
}

#[derive(Debug)]
pub(crate) struct Extract {
    pub(crate) target: Target,
    pub(crate) var_length: Option<Ex>,
}

/// What an extraction fills.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Header(u8),
    Next(u8),
}

#[derive(Debug)]
pub(crate) enum Select {
    Value(Ex),
    /// Bits ahead of the cursor: whole bytes, then the slot relative to them.
    Lookahead {
        byte: usize,
        slot: Slot,
    },
}

#[derive(Debug)]
pub(crate) struct Case {
    /// Value and mask for each select key.
    pub(crate) values: Box<[(u128, u128)]>,
    pub(crate) next: u16,
}

/// An expression over places; widths were checked, so masks appear only where arithmetic can overflow.
#[derive(Clone, Debug)]
pub(crate) enum Ex {
    Const(u128),
    Field(Slot),
    /// A field of the stack element that was extracted last; the slot is the first element's.
    Last {
        stack: u8,
        slot: Slot,
    },
    Param {
        index: u8,
        narrow: bool,
    },
    Valid(u8),
    /// Complement within the mask.
    Not(Box<Self>, u128),
    IsZero(Box<Self>),
    Binary {
        op: ir::BinaryOp,
        left: Box<Self>,
        right: Box<Self>,
        mask: u128,
        /// Whether both sides are narrow.
        narrow: bool,
    },
    /// Truncation to the mask.
    Mask(Box<Self>, u128),
    Hash {
        fields: Box<[Slot]>,
        mask: u128,
    },
}

impl Ex {
    /// Whether it, and everything in it, can be computed in 64 bits.
    pub(crate) fn is_narrow(&self) -> bool {
        match self {
            Self::Const(value) => u64::try_from(*value).is_ok(),
            Self::Field(slot) | Self::Last { slot, .. } => slot.is_narrow(),
            Self::Param { narrow, .. } | Self::Binary { narrow, .. } => *narrow,
            Self::Valid(_) | Self::Hash { .. } => true,
            Self::Not(operand, _) | Self::IsZero(operand) | Self::Mask(operand, _) => {
                operand.is_narrow()
            }
        }
    }
}

/// An operation.
#[derive(Clone, Debug)]
pub(crate) enum Instr {
    Set {
        dst: Slot,
        /// The header that must be valid.
        header: Option<u8>,
        value: Ex,
        sums: Box<[SumPart]>,
    },
    SetValid {
        header: u8,
        /// Checksums that stand in this header.
        sums: Box<[u8]>,
    },
    SetInvalid(u8),
    Push {
        stack: u8,
        count: u8,
    },
    Pop {
        stack: u8,
        count: u8,
    },
    Output(Ex),
    Multicast(Ex),
    Flood,
    Drop(DropReason),
    ToController,
    Clone(Ex),
    Reject {
        /// The first header that is quoted.
        quote: u8,
        /// That one and all that are emitted after it.
        gone: u128,
        length: Ex,
        limit: u32,
    },
    Fragment(Ex),
    Meter {
        meter: u16,
        index: Ex,
        /// Where the colour goes: metadata.
        dst: Slot,
    },
    Count {
        counter: u16,
        index: Ex,
    },
    If {
        cond: Ex,
        then: Box<[Self]>,
        otherwise: Box<[Self]>,
    },
    Exit,
}

/// How a written field takes part in a checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SumPart {
    pub(crate) checksum: u8,
    pub(crate) role: SumRole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SumRole {
    /// It is the checksum.
    Itself,
    /// It is covered; its value is shifted left by so many bits within 16-bit words.
    Covered(u8),
    /// It is in the pseudo header.
    Pseudo,
}

#[derive(Debug)]
pub(crate) struct ChecksumDef {
    pub(crate) header: u8,
    pub(crate) slot: Slot,
    /// Bytes from the header's start.
    pub(crate) offset: usize,
    pub(crate) covers: Box<[(Slot, u8)]>,
    pub(crate) pseudo: Box<[Slot]>,
    pub(crate) offloadable: bool,
    pub(crate) zero_is_none: bool,
    pub(crate) payload: bool,
}

#[derive(Debug)]
pub(crate) struct SelectorDef {
    pub(crate) name: String,
    pub(crate) hash: Box<[Slot]>,
    pub(crate) mode: ir::SelectorMode,
    pub(crate) counts: ir::SizeCounts,
    pub(crate) size: usize,
    pub(crate) max_group_size: usize,
}

impl SelectorDef {
    /// Whether sizes count each member once, whatever its weight.
    pub(crate) fn counts_members(&self) -> bool {
        self.counts == ir::SizeCounts::Members
    }
}

#[derive(Debug)]
pub(crate) struct MeterDef {
    pub(crate) name: String,
    pub(crate) size: usize,
    pub(crate) unit: ir::MeterUnit,
}

#[derive(Debug)]
pub(crate) struct DirectMeterDef {
    pub(crate) unit: ir::MeterUnit,
    /// Where the colour goes: metadata.
    pub(crate) dst: Slot,
}

#[derive(Debug)]
pub(crate) struct CounterDef {
    pub(crate) name: String,
    pub(crate) size: usize,
}

#[derive(Debug)]
pub(crate) struct TableDef {
    pub(crate) name: String,
    pub(crate) keys: Box<[Ex]>,
    pub(crate) key: KeyLayout,
    pub(crate) size: usize,
    pub(crate) counters: bool,
    pub(crate) meter: Option<DirectMeterDef>,
    pub(crate) idle_timeout: bool,
    pub(crate) selector: Option<usize>,
    pub(crate) const_default: bool,
    pub(crate) default: Option<TableEntry>,
    pub(crate) const_entries: Vec<TableEntry>,
}

/// A control graph; an index of [`Control::END`] ends it.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) start: u16,
    pub(crate) nodes: Box<[Node]>,
}

impl Control {
    pub(crate) const END: u16 = u16::MAX;
}

#[derive(Debug)]
pub(crate) enum Node {
    Table {
        table: u16,
        /// Next nodes by action, then where no action ran.
        on_hit: Box<[u16]>,
        on_miss: Box<[u16]>,
    },
    If {
        cond: Ex,
        then: u16,
        otherwise: u16,
    },
    Run {
        ops: Box<[Instr]>,
        next: u16,
    },
}

#[cfg(test)]
mod tests;
