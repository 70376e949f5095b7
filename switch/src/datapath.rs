//! One switch's forwarding: a packet and `now` in, packets and drops out.
//!
//! ```text
//! bytes -> parser -> ingress -> verdict -> (for each copy) egress -> MTU -> deparser -> bytes
//!                       `-> copies for the controller, as received
//! ```
//!
//! Nothing is allocated for a packet that leaves by one port: its headers are taken apart into the worker's
//! [`Scratch`], and put back in front of the payload where it stands.

mod replicas;

use weft_proto::vocab::{CloneSessionId, DeviceId, PortNo, Replica};

use crate::checksum;
use crate::drops::DropReason;
use crate::interp::{Frame, Machine, Rejected, Verdict};
use crate::limit::Buckets;
use crate::observe::{Observer, Quiet};
use crate::packet::{Packet, Pool};
use crate::parser;
use crate::ports::PortSet;
use crate::program::{Layout, Program};
use crate::segment;
use crate::state::State;

/// Nanoseconds since a start that the driver chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

/// What became of a packet, or of one copy.
#[derive(Debug, PartialEq, Eq)]
pub enum Emit {
    /// It leaves by a port that exists and is up.
    Port {
        /// The port.
        port: PortNo,
        /// The packet.
        packet: Packet,
    },
    /// A copy for the primary controller.
    PacketIn {
        /// Metadata id, 1 and up in the order of [`crate::ir::Pipeline::packet_in`], and value.
        metadata: Vec<(u32, u128)>,
        /// The packet.
        packet: Packet,
    },
    /// It ended here.
    Dropped {
        /// Why.
        reason: DropReason,
    },
}

/// A worker's working memory: buffers that are reused from packet to packet.
#[derive(Debug)]
pub struct Scratch<O = Quiet> {
    /// Packet buffers. Drivers receive into them and recycle what they have sent.
    pub pool: Pool,
    /// How the last packet counts.
    pub(crate) counted: Counted,
    /// How each packet that left counts, where they are others than the one that came.
    pub(crate) sent: Vec<Counted>,
    frame: Frame,
    /// The frame as ingress left it, while copies are made.
    saved: Frame,
    key: Vec<u64>,
    copies: Vec<Replica>,
    punts: Vec<Vec<(u32, u128)>>,
    clones: Vec<CloneSessionId>,
    /// The frame as ingress left it, while clones are made.
    held: Frame,
    buckets: Buckets,
    /// Frames that one copy became.
    frames: Vec<Packet>,
    /// Told of each step.
    pub(crate) observer: O,
}

impl Default for Scratch {
    fn default() -> Self {
        Self::observed(Quiet)
    }
}

impl<O> Scratch<O> {
    /// Working memory whose packets are watched.
    pub(crate) fn observed(observer: O) -> Self {
        Self {
            pool: Pool::default(),
            counted: Counted::default(),
            sent: Vec::new(),
            frame: Frame::default(),
            saved: Frame::default(),
            key: Vec::new(),
            copies: Vec::new(),
            punts: Vec::new(),
            clones: Vec::new(),
            held: Frame::default(),
            buckets: Buckets::default(),
            frames: Vec::new(),
            observer,
        }
    }
}

/// A switch as one worker sees it: immutable, replaced when something is published.
#[derive(Clone, Debug)]
pub struct Datapath {
    /// The switch.
    pub device: DeviceId,
    /// Entries and groups.
    pub state: State,
    /// Ports.
    pub ports: PortSet,
    /// Makes this switch's hashes differ from its neighbours'.
    pub salt: u64,
}

impl Datapath {
    /// Runs the pipeline over a packet that entered by `in_port`.
    pub fn process<O: Observer>(
        &self,
        cx: &mut Scratch<O>,
        in_port: PortNo,
        packet: Packet,
        now: Nanos,
        out: &mut Vec<Emit>,
    ) {
        self.run(cx, in_port, &[], packet, now, out);
    }

    /// Runs the pipeline over a packet from the controller; `metadata` are ids, 1 and up in the order of
    /// [`crate::ir::Pipeline::packet_out`], and values. Unknown ids are left out.
    pub fn packet_out<O: Observer>(
        &self,
        cx: &mut Scratch<O>,
        metadata: &[(u32, u128)],
        packet: Packet,
        now: Nanos,
        out: &mut Vec<Emit>,
    ) {
        self.run(cx, PortNo::CPU, metadata, packet, now, out);
    }

    fn run<O: Observer>(
        &self,
        cx: &mut Scratch<O>,
        in_port: PortNo,
        metadata: &[(u32, u128)],
        mut packet: Packet,
        now: Nanos,
        out: &mut Vec<Emit>,
    ) {
        cx.sent.clear();
        cx.clones.clear();
        let decided = self.ingress(cx, in_port, metadata, &mut packet, now);
        let cloned = !cx.clones.is_empty() && self.clones(cx, in_port, &packet, now, out);
        match decided {
            Err(reason) => {
                cx.observer.dropped(reason);
                cx.pool.recycle(packet);
                out.push(Emit::Dropped { reason });
            }
            Ok(mut decided) => {
                decided.listed = cloned || decided.rejected.is_some() || decided.fragment.is_some();
                for metadata in cx.punts.drain(..) {
                    cx.observer.punted();
                    let packet = cx.pool.copy(&packet);
                    out.push(Emit::PacketIn { metadata, packet });
                }
                if let Some(rejected) = decided.rejected {
                    cx.observer.dropped(rejected.reason);
                    out.push(Emit::Dropped {
                        reason: rejected.reason,
                    });
                    packet = self.quote(cx, in_port, packet, rejected);
                    decided.counted = Counted::of(&packet, 0);
                }
                if let Some(reason) = self.copies(cx, in_port, decided.verdict) {
                    cx.observer.dropped(reason);
                    out.push(Emit::Dropped { reason });
                }
                self.leave(cx, packet, &decided, now, out);
            }
        }
    }

    /// Parses and runs ingress.
    fn ingress<O: Observer>(
        &self,
        cx: &mut Scratch<O>,
        in_port: PortNo,
        metadata: &[(u32, u128)],
        packet: &mut Packet,
        now: Nanos,
    ) -> Result<Decided, DropReason> {
        let program = self.state.program();
        segment::validate(packet, self.is_l2(in_port))?;
        self.parse(&mut cx.frame, in_port, metadata, packet)?;
        let frame = &mut cx.frame;
        cx.observer.parsed(program, &frame.arena, frame.valid);
        let uncounted = frame.header_bytes(&program.layout, program.uncounted);
        let counted = Counted::of(packet, uncounted);
        cx.counted = counted;
        let mut machine = self.machine(cx, counted, now);
        machine.run(&program.ingress);
        let verdict = match machine.verdict {
            Verdict::None if machine.punts.is_empty() => {
                return Err(DropReason::NO_VERDICT);
            }
            verdict => verdict,
        };
        Ok(Decided {
            verdict,
            counted,
            rejected: machine.rejected,
            fragment: machine.fragment.map(|size| size as usize),
            excess: 0,
            listed: false,
        })
    }

    /// Takes a packet apart, with what is known of it from the start.
    fn parse(
        &self,
        frame: &mut Frame,
        in_port: PortNo,
        metadata: &[(u32, u128)],
        packet: &Packet,
    ) -> Result<(), DropReason> {
        let program = self.state.program();
        let std = &program.layout.std;
        frame.reset(program);
        let mut set = |slot: crate::bits::Slot, value| slot.write(&mut frame.arena, value);
        set(std.in_port, in_port.0.into());
        set(std.packet_length, packet.len() as u128);
        set(std.wire_length, packet.largest_segment() as u128);
        set(std.l3, (!self.is_l2(in_port)).into());
        for &(id, value) in metadata {
            let index = (id as usize).wrapping_sub(1);
            if let Some(slot) = program.packet_out.get(index) {
                set(*slot, value);
            }
        }
        parser::parse(program, frame, packet.head())?;
        frame.received = frame.valid;
        Ok(())
    }

    /// Bytes in front of the customer's frame, as it leaves.
    fn uncounted(&self, frame: &Frame) -> usize {
        let program = self.state.program();
        frame.header_bytes(&program.layout, program.uncounted & program.emitted)
    }

    fn is_l2(&self, port: PortNo) -> bool {
        self.ports.get(port).is_none_or(|port| port.is_l2)
    }

    /// Cuts a rejected packet to what the new one quotes, and finishes the new one's checksums.
    fn quote<O: Observer>(
        &self,
        cx: &mut Scratch<O>,
        in_port: PortNo,
        packet: Packet,
        rejected: Rejected,
    ) -> Packet {
        let is_l2 = self.is_l2(in_port);
        let mut packet = segment::first(packet, is_l2, &mut cx.pool);
        packet.truncate(rejected.keep);
        let from = cx.frame.consumed.min(packet.head().len());
        let sum = checksum::sum_parts(&packet.head()[from..], packet.tail());
        cx.frame.add_payload(self.state.program(), sum);
        packet
    }

    /// Lists the copies that a verdict makes, or says why there is none. A packet that only the controller gets is not
    /// a drop.
    fn copies<O: Observer>(
        &self,
        cx: &mut Scratch<O>,
        in_port: PortNo,
        verdict: Verdict,
    ) -> Option<DropReason> {
        cx.copies.clear();
        let instance = 0;
        match verdict {
            Verdict::None => return None,
            Verdict::Drop(reason) => return Some(reason),
            Verdict::Output(port) => cx.copies.push(Replica { port, instance }),
            Verdict::Multicast(group) => {
                if let Some(group) = self.state.group(group) {
                    let replicas = self.replicas(&group.replicas, &group.backups);
                    cx.copies
                        .extend(replicas.filter(|replica| replica.port != in_port));
                }
            }
            Verdict::Flood => {
                let others = self
                    .ports
                    .iter()
                    .filter(|(port, info)| info.up && *port != in_port);
                cx.copies
                    .extend(others.map(|(port, _)| Replica { port, instance }));
            }
        }
        cx.copies.is_empty().then_some(DropReason::EMPTY_GROUP)
    }

    /// Sends the listed copies, the last of which is the packet itself.
    fn leave<O: Observer>(
        &self,
        cx: &mut Scratch<O>,
        packet: Packet,
        decided: &Decided,
        now: Nanos,
        out: &mut Vec<Emit>,
    ) {
        let Some((&last, others)) = cx.copies.split_last() else {
            cx.pool.recycle(packet);
            return;
        };
        let others = others.len();
        if others > 0 {
            cx.saved.copy_from(&cx.frame);
        }
        for index in 0..others {
            let copy = cx.pool.copy(&packet);
            let replica = cx.copies[index];
            self.egress(cx, replica, copy, decided, now, out);
            cx.frame.copy_from(&cx.saved);
        }
        self.egress(cx, last, packet, decided, now, out);
    }

    /// Runs egress over one copy and puts it together.
    fn egress<O: Observer>(
        &self,
        cx: &mut Scratch<O>,
        replica: Replica,
        mut packet: Packet,
        decided: &Decided,
        now: Nanos,
        out: &mut Vec<Emit>,
    ) {
        let port = replica.port;
        let frame = &cx.frame;
        cx.observer.copied(port, &frame.arena, frame.valid);
        match self.finish(cx, replica, &mut packet, decided, now) {
            Ok(None) if port == PortNo::CPU => {
                let fields = self.state.program().packet_in.iter();
                let values = fields.map(|slot| slot.read(&cx.frame.arena));
                let metadata = (1..).zip(values).collect();
                out.push(Emit::PacketIn { metadata, packet });
            }
            Ok(None) => {
                if decided.listed {
                    cx.sent
                        .push(Counted::of(&packet, self.uncounted(&cx.frame)));
                }
                out.push(Emit::Port { port, packet });
            }
            Ok(Some(size)) => {
                let is_l2 = self.is_l2(port);
                let Scratch { pool, frames, .. } = cx;
                if segment::fragment(packet, is_l2, size, pool, frames) {
                    let uncounted = self.uncounted(&cx.frame);
                    for packet in cx.frames.drain(..) {
                        cx.sent.push(Counted::of(&packet, uncounted));
                        out.push(Emit::Port { port, packet });
                    }
                } else {
                    let reason = DropReason::MTU;
                    cx.observer.dropped(reason);
                    out.push(Emit::Dropped { reason });
                }
            }
            Err(reason) => {
                cx.observer.dropped(reason);
                cx.pool.recycle(packet);
                out.push(Emit::Dropped { reason });
            }
        }
    }

    /// Runs egress and puts the headers back; returns the size to fragment to, where the packet is larger.
    fn finish<O: Observer>(
        &self,
        cx: &mut Scratch<O>,
        replica: Replica,
        packet: &mut Packet,
        decided: &Decided,
        now: Nanos,
    ) -> Result<Option<usize>, DropReason> {
        let program = self.state.program();
        let (mtu, is_l2) = match self.ports.get(replica.port) {
            Some(port) if !port.up => return Err(DropReason::PORT_DOWN),
            Some(port) => (port.mtu as usize, port.is_l2),
            // The controller gets packets as they are where they entered.
            None if replica.port == PortNo::CPU => {
                (usize::MAX, program.layout.std.l3.read(&cx.frame.arena) == 0)
            }
            None => return Err(DropReason::NO_SUCH_PORT),
        };
        if !program.egress.nodes.is_empty() {
            let std = &program.layout.std;
            let arena = &mut cx.frame.arena;
            std.egress_port.write(arena, replica.port.0.into());
            std.instance.write(arena, replica.instance.into());
            std.egress_l3.write(arena, (!is_l2).into());
            let mut machine = self.machine(cx, decided.counted, now);
            machine.run(&program.egress);
            if let Verdict::Drop(reason) = machine.verdict {
                return Err(reason);
            }
        }
        let frame = &mut cx.frame;
        let emitted = frame.header_bytes(&program.layout, program.emitted);
        let below_ip = frame.header_bytes(&program.layout, program.emitted & program.below_ip);
        let largest = packet.largest_segment() + emitted - frame.consumed;
        let size = largest.saturating_sub(below_ip + decided.excess);
        let cut = decided.fragment.filter(|&cut| size > cut);
        if cut.unwrap_or(size) > mtu {
            return Err(DropReason::MTU);
        }
        deparse(program, frame, packet, emitted)?;
        if decided.excess > 0 {
            packet.truncate(packet.len().saturating_sub(decided.excess));
        }
        Ok(cut)
    }

    fn machine<'a, O: Observer>(
        &'a self,
        cx: &'a mut Scratch<O>,
        counted: Counted,
        now: Nanos,
    ) -> Machine<'a, O> {
        Machine {
            program: self.state.program(),
            state: &self.state,
            ports: &self.ports,
            salt: self.salt,
            now_ns: now.0,
            frame: &mut cx.frame,
            key: &mut cx.key,
            verdict: Verdict::None,
            packets: counted.packets,
            bytes: counted.bytes,
            punts: &mut cx.punts,
            clones: &mut cx.clones,
            observer: &mut cx.observer,
            device: self.device,
            buckets: &mut cx.buckets,
            rejected: None,
            fragment: None,
        }
    }
}

/// What one packet adds to the counter of each entry that it hits, and of each port that it passes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// Wire segments.
    pub(crate) packets: u64,
    /// Their bytes, without headers that do not count.
    pub(crate) bytes: u64,
}

impl Counted {
    /// All wire segments of a packet, each without so many bytes.
    fn of(packet: &Packet, uncounted: usize) -> Self {
        let packets = u64::from(packet.segments());
        let bytes = packet.wire_bytes();
        Self {
            packets,
            bytes: bytes - (packets * uncounted as u64).min(bytes),
        }
    }
}

/// What ingress decided.
#[derive(Clone, Copy, Debug)]
struct Decided {
    verdict: Verdict,
    counted: Counted,
    rejected: Option<Rejected>,
    /// Largest IPv4 packet that leaves whole.
    fragment: Option<usize>,
    /// Bytes that are cut off its end.
    excess: usize,
    /// What leaves counts otherwise than what came, and so each packet is listed with what it counts.
    listed: bool,
}

/// Puts the valid headers, `emitted` bytes in all, in front of the payload.
fn deparse(
    program: &Program,
    frame: &mut Frame,
    packet: &mut Packet,
    emitted: usize,
) -> Result<(), DropReason> {
    if !frame.changed && in_place(program, frame) {
        return Ok(());
    }
    let partial = packet.vnet.is_partial().then(|| packet.vnet.csum_field());
    frame.settle_checksums(program, partial);
    let front = packet
        .replace_front(frame.consumed, emitted)
        .ok_or(DropReason::OVERSIZE)?;
    let mut at = 0;
    for &index in &program.deparser {
        if frame.valid & 1 << index != 0 {
            let (start, len) = extent(&program.layout, frame, index);
            front[at..at + len].copy_from_slice(&frame.arena[start..start + len]);
            at += len;
        }
    }
    Ok(())
}

/// Whether the packet's bytes are what would be put there.
fn in_place(program: &Program, frame: &Frame) -> bool {
    let mut at = 0;
    for &index in &program.deparser {
        if frame.valid & 1 << index != 0 {
            if usize::from(frame.start[usize::from(index)]) != at {
                return false;
            }
            at += extent(&program.layout, frame, index).1;
        }
    }
    at == frame.consumed
}

/// A header's place in the arena and its length.
fn extent(layout: &Layout, frame: &Frame, index: u8) -> (usize, usize) {
    let header = &layout.headers[usize::from(index)];
    (
        header.at,
        header.fixed + usize::from(frame.var_len[usize::from(index)]),
    )
}

#[cfg(test)]
mod array_tests;
#[cfg(test)]
mod offload_tests;
#[cfg(test)]
mod tests;
