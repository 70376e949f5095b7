//! The interpreter: expressions, operations and controls over one packet's headers and metadata.

#![expect(
    clippy::cast_possible_truncation,
    reason = "widths were checked when the program was made, and hashes are cut on purpose"
)]

mod array;
mod choice;
mod eval;
mod frame;

use weft_proto::vocab::{CloneSessionId, DeviceId, MulticastGroupId, PortNo};

pub(crate) use self::eval::Reader;
use self::eval::mix_value;
pub(crate) use self::frame::Frame;
use crate::checksum;
use crate::drops::DropReason;
use crate::limit::Buckets;
use crate::observe::Observer;
use crate::ports::PortSet;
use crate::program::{Control, Ex, Instr, Node, Program, SumRole};
use crate::state::State;
use crate::table::{Act, Bound};

/// What became of a packet that was rejected, and how much of it the new one carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rejected {
    pub(crate) reason: DropReason,
    /// Bytes of the received packet that are kept, all in all.
    pub(crate) keep: usize,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Verdict {
    #[default]
    None,
    Drop(DropReason),
    Output(PortNo),
    Multicast(MulticastGroupId),
    Flood,
}

/// One run over a packet.
pub(crate) struct Machine<'a, O> {
    pub(crate) program: &'a Program,
    pub(crate) state: &'a State,
    pub(crate) ports: &'a PortSet,
    pub(crate) salt: u64,
    pub(crate) now_ns: u64,
    pub(crate) frame: &'a mut Frame,
    /// Room for a table key.
    pub(crate) key: &'a mut Vec<u64>,
    pub(crate) verdict: Verdict,
    /// What one packet adds to counters.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Metadata of the copies for the controller, one after the other.
    pub(crate) punts: &'a mut Vec<Vec<(u32, u128)>>,
    /// Clone sessions, each once.
    pub(crate) clones: &'a mut Vec<CloneSessionId>,
    pub(crate) observer: &'a mut O,
    /// The switch, and what its ports have left for error messages.
    pub(crate) device: DeviceId,
    pub(crate) buckets: &'a mut Buckets,
    pub(crate) rejected: Option<Rejected>,
    /// Largest IPv4 packet that leaves whole.
    pub(crate) fragment: Option<u32>,
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Exit,
}

impl<O: Observer> Machine<'_, O> {
    /// Runs a control.
    pub(crate) fn run(&mut self, control: &Control) {
        let mut next = control.start;
        while let Some(node) = control.nodes.get(usize::from(next)) {
            next = match node {
                Node::If {
                    cond,
                    then,
                    otherwise,
                } => {
                    if self.test(cond, &[]) {
                        *then
                    } else {
                        *otherwise
                    }
                }
                Node::Run { ops, next } => {
                    let flow = self.exec(ops, &[]);
                    self.tell_ran();
                    if flow == Flow::Exit {
                        return;
                    }
                    *next
                }
                Node::Table {
                    table,
                    on_hit,
                    on_miss,
                } => {
                    let (hit, action, flow) = self.apply(usize::from(*table));
                    self.tell_ran();
                    if flow == Flow::Exit {
                        return;
                    }
                    let successors = if hit { on_hit } else { on_miss };
                    // The last one is for a miss that runs nothing.
                    successors[action.map_or(successors.len() - 1, usize::from)]
                }
            };
        }
    }

    fn tell_ran(&mut self) {
        let dropped = match self.verdict {
            Verdict::Drop(reason) => Some(reason),
            _ => None,
        };
        let Frame { arena, valid, .. } = &*self.frame;
        self.observer.ran(arena, *valid, dropped);
    }

    /// Applies a table: whether it was a hit, which action ran, and whether to go on.
    fn apply(&mut self, index: usize) -> (bool, Option<u16>, Flow) {
        let table = &self.program.tables[index];
        let state = self.state;
        let entries = state.table(index);
        let hit = match entries.index.used_fields() {
            0 => None,
            used => {
                self.key.clear();
                self.key.resize(table.key.words(), 0);
                // What no entry looks at is not computed.
                for (field, value) in table.keys.iter().enumerate() {
                    if used & 1 << field != 0 {
                        let value = self.eval(value, &[]);
                        table.key.put(field, value, self.key);
                    }
                }
                entries.index.lookup(&table.key, self.key)
            }
        };
        let found = hit.or(entries.default.as_deref());
        let entry = found.map(|found| &found.entry);
        self.observer
            .looked_up(self.program, index, hit.is_some(), entry);
        let Some(found) = found else {
            return (false, None, Flow::Next);
        };
        if O::COUNTS && table.counters {
            found.stats.counter.add(self.packets, self.bytes);
        }
        if let (Some(def), Some(meter)) = (&table.meter, &found.meter) {
            let color = self.entry_meter(def.unit, meter);
            def.dst.write(&mut self.frame.arena, color as u128);
        }
        if O::COUNTS && table.idle_timeout {
            found.stats.touch(self.now_ns);
        }
        let bound: &Bound = match &found.act {
            Act::Call(bound) => bound,
            act => match self.choose(index, act) {
                Some(bound) => bound,
                None => {
                    self.verdict = Verdict::Drop(DropReason::EMPTY_GROUP);
                    return (hit.is_some(), None, Flow::Exit);
                }
            },
        };
        self.observer.acts(bound.action, &bound.args);
        let program = self.program;
        let flow = self.exec(&program.actions[usize::from(bound.action)], &bound.args);
        (hit.is_some(), Some(bound.action), flow)
    }

    fn exec(&mut self, ops: &[Instr], args: &[u128]) -> Flow {
        for op in ops {
            match op {
                Instr::Set {
                    dst,
                    header,
                    value,
                    sums,
                } => {
                    if header.is_some_and(|header| self.frame.valid & 1 << header == 0) {
                        continue;
                    }
                    let value = self.eval(value, args);
                    if header.is_some() {
                        self.frame.changed = true;
                        for part in sums {
                            self.adjust(part.checksum, part.role, *dst, value);
                        }
                    }
                    dst.write(&mut self.frame.arena, value);
                }
                Instr::If {
                    cond,
                    then,
                    otherwise,
                } => {
                    let branch = if self.test(cond, args) {
                        then
                    } else {
                        otherwise
                    };
                    if self.exec(branch, args) == Flow::Exit {
                        return Flow::Exit;
                    }
                }
                Instr::SetValid { header, sums } => self.set_valid(*header, sums),
                Instr::SetInvalid(header) => {
                    let index = usize::from(*header);
                    if self.frame.valid & 1 << index != 0 {
                        self.frame.changed = true;
                        self.frame.valid &= !(1 << index);
                        self.frame.received &= !(1 << index);
                        self.frame.zero(&self.program.layout, index);
                    }
                }
                Instr::Push { stack, count } => self.push(*stack, usize::from(*count)),
                Instr::Pop { stack, count } => self.pop(*stack, usize::from(*count)),
                Instr::Output(port) => {
                    let port = self.eval(port, args) as u32;
                    self.verdict = Verdict::Output(PortNo(port));
                }
                Instr::Multicast(group) => {
                    let group = self.eval(group, args) as u32;
                    self.verdict = Verdict::Multicast(MulticastGroupId(group));
                }
                Instr::Flood => self.verdict = Verdict::Flood,
                Instr::Drop(reason) => self.verdict = Verdict::Drop(*reason),
                Instr::ToController => self.punt(),
                Instr::Clone(session) => {
                    let session = CloneSessionId(self.eval(session, args) as u32);
                    if !self.clones.contains(&session) {
                        self.clones.push(session);
                    }
                }
                Instr::Reject {
                    quote,
                    gone,
                    length,
                    limit,
                } => {
                    let length = self.eval(length, args) as u32;
                    if !self.reject(usize::from(*quote), *gone, length.min(*limit)) {
                        return Flow::Exit;
                    }
                }
                Instr::Fragment(size) => {
                    self.fragment = Some(self.eval(size, args) as u32);
                }
                Instr::Meter { meter, index, dst } => {
                    let index = self.eval(index, args) as usize;
                    let color = self.meter(usize::from(*meter), index);
                    dst.write(&mut self.frame.arena, color as u128);
                }
                Instr::Count { counter, index } => {
                    let index = self.eval(index, args) as usize;
                    self.count(usize::from(*counter), index);
                }
                Instr::Exit => return Flow::Exit,
            }
        }
        Flow::Next
    }

    fn reader<'b>(&'b self, args: &'b [u128]) -> Reader<'b> {
        Reader {
            frame: self.frame,
            args,
            salt: self.salt,
            layout: &self.program.layout,
        }
    }

    #[inline]
    fn eval(&self, value: &Ex, args: &[u128]) -> u128 {
        self.reader(args).eval(value)
    }

    #[inline]
    fn test(&self, cond: &Ex, args: &[u128]) -> bool {
        self.reader(args).test(cond)
    }

    fn punt(&mut self) {
        let arena = &self.frame.arena;
        let fields = self.program.packet_in.iter();
        let metadata = (1..).zip(fields.map(|slot| slot.read(arena))).collect();
        self.punts.push(metadata);
    }

    /// Makes headers payload again, and notes how much of it stays; false where there is no new packet.
    fn reject(&mut self, quote: usize, gone: u128, length: u32) -> bool {
        let Verdict::Drop(reason) = self.verdict else {
            return false;
        };
        let received = self.frame.received & 1 << quote != 0;
        let std = &self.program.layout.std;
        let port = PortNo(std.in_port.read(&self.frame.arena) as u32);
        if !received
            || self.rejected.is_some()
            || !self.buckets.take(self.device, port, self.now_ns)
        {
            return false;
        }
        let start = usize::from(self.frame.start[quote]);
        let segment = std.wire_length.read(&self.frame.arena) as usize;
        let quoted = segment.saturating_sub(start).min(length as usize);
        let mut left = self.frame.valid & gone;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            self.frame.zero(&self.program.layout, index);
        }
        self.frame.valid &= !gone;
        self.frame.received &= !gone;
        self.frame.consumed = start;
        self.frame.changed = true;
        std.quoted_length
            .write(&mut self.frame.arena, quoted as u128);
        self.rejected = Some(Rejected {
            reason,
            keep: start + quoted,
        });
        self.verdict = Verdict::None;
        true
    }

    /// Notes what a write adds to a checksum.
    fn adjust(&mut self, checksum: u8, role: SumRole, dst: crate::bits::Slot, value: u128) {
        let index = usize::from(checksum);
        let frame = &mut *self.frame;
        let old = dst.read(&frame.arena);
        match role {
            // Whoever writes it says that it is right as it now stands.
            SumRole::Itself => {
                frame.covered[index] = 0;
                frame.pseudo[index] = 0;
                return;
            }
            SumRole::Covered(shift) => {
                frame.covered[index] += checksum::delta(old, value, shift);
            }
            SumRole::Pseudo => frame.pseudo[index] += checksum::delta(old, value, 0),
        }
        frame.stale |= 1 << index;
    }

    /// Makes a header valid. Its checksums begin with the sum of what they cover now; the payload is not read.
    fn set_valid(&mut self, header: u8, sums: &[u8]) {
        let index = usize::from(header);
        if self.frame.valid & 1 << index != 0 {
            return;
        }
        self.frame.changed = true;
        self.frame.valid |= 1 << index;
        self.frame.var_len[index] = 0;
        for &sum in sums {
            let checksum = &self.program.checksums[usize::from(sum)];
            let arena = &self.frame.arena;
            let covers = checksum.covers.iter();
            let covered = covers.map(|(slot, shift)| checksum::delta(0, slot.read(arena), *shift));
            let covered = covered.sum();
            let pseudo = checksum.pseudo.iter();
            let pseudo = pseudo
                .map(|slot| checksum::delta(0, slot.read(arena), 0))
                .sum();
            self.frame.covered[usize::from(sum)] = covered;
            self.frame.pseudo[usize::from(sum)] = pseudo;
            self.frame.stale |= 1 << sum;
        }
    }

    fn push(&mut self, stack: u8, count: usize) {
        let stack = self.program.layout.stacks[usize::from(stack)];
        let frame = &mut *self.frame;
        let start = self.program.layout.headers[stack.first].at;
        let (moved, freed) = (stack.count - count, count * stack.stride);
        frame
            .arena
            .copy_within(start..start + moved * stack.stride, start + freed);
        frame.arena[start..start + freed].fill(0);
        frame
            .var_len
            .copy_within(stack.first..stack.first + moved, stack.first + count);
        frame.var_len[stack.first..stack.first + count].fill(0);
        let set = stack.set();
        let old = (frame.valid & set) >> stack.first;
        let new = (old << count | crate::bits::max_value(count as u16)) << stack.first & set;
        frame.valid = frame.valid & !set | new;
        frame.received &= !set;
        frame.changed = true;
    }

    fn pop(&mut self, stack: u8, count: usize) {
        let stack = self.program.layout.stacks[usize::from(stack)];
        let frame = &mut *self.frame;
        let start = self.program.layout.headers[stack.first].at;
        let (kept, freed) = (stack.count - count, count * stack.stride);
        let end = start + stack.count * stack.stride;
        frame.arena.copy_within(start + freed..end, start);
        frame.arena[end - freed..end].fill(0);
        let last = stack.first + stack.count;
        frame
            .var_len
            .copy_within(stack.first + count..last, stack.first);
        frame.var_len[stack.first + kept..last].fill(0);
        let set = stack.set();
        let new = (frame.valid & set) >> count & set;
        frame.valid = frame.valid & !set | new;
        frame.received &= !set;
        frame.changed = true;
    }
}
