//! All switches of a process as one value: a packet enters at a port, runs through every switch on its way, and
//! leaves at other ports. Patch links are followed here, so a path over N switches costs one read and one write.
//!
//! A loop of links ends: each copy crosses [`HOP_LIMIT`] switches at most, and one packet that entered becomes
//! [`COPY_LIMIT`] copies at most. What is over is counted as `hop-limit` or `copy-limit` where it happened.

use std::collections::VecDeque;
use std::sync::Arc;

use weft_proto::vocab::{DeviceId, PortNo};

use crate::capture::{Capture, Direction};
use crate::datapath::{Counted, Datapath, Emit, Nanos, Scratch};
use crate::drops::DropReason;
use crate::host::Endpoint;
use crate::observe::{Observer, Quiet};
use crate::packet::Packet;
use crate::patch::{Target, WiredDevice, WiredPort, Wiring};
use crate::ports::{Medium, PortInfo, PortSet};
use crate::recorder::{FlowKey, Hop, Recorder, Trace};
use crate::state::State;

/// Most switches that one copy crosses.
pub const HOP_LIMIT: u8 = 255;
/// Most copies that one packet becomes.
pub const COPY_LIMIT: u32 = 4096;

/// What left the process.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit {
    /// A packet that leaves by a port that is no patch link.
    Port {
        /// The port.
        at: Endpoint,
        /// The packet.
        packet: Packet,
    },
    /// A copy for a switch's primary controller.
    PacketIn {
        /// The switch.
        device: DeviceId,
        /// Metadata id and value.
        metadata: Vec<(u32, u128)>,
        /// The packet.
        packet: Packet,
        /// What it begins with: the same as where it entered.
        medium: Medium,
    },
}

/// All switches of a process as one worker sees them.
#[derive(Debug)]
pub struct Plane<O = Quiet> {
    wiring: Arc<Wiring>,
    /// In the order of the wiring's devices; `None` without a pipeline.
    datapaths: Vec<Option<Datapath>>,
    recorders: Vec<Arc<Recorder>>,
    captures: Vec<Arc<Capture>>,
    scratch: Scratch<O>,
    work: VecDeque<Work>,
    emits: Vec<Emit>,
}

/// A packet that is about to enter a switch.
#[derive(Debug)]
struct Work {
    /// Index of the switch.
    device: usize,
    in_port: PortNo,
    packet: Packet,
    /// Switches crossed before.
    hops: u8,
    trace: Option<Box<Trace>>,
}

impl Default for Plane {
    fn default() -> Self {
        Self::observed(Arc::default(), Quiet)
    }
}

impl Plane {
    /// Switches without pipelines.
    pub fn new(wiring: Arc<Wiring>) -> Self {
        Self::observed(wiring, Quiet)
    }
}

impl<O: Observer> Plane<O> {
    /// Switches without pipelines, whose packets are watched.
    pub(crate) fn observed(wiring: Arc<Wiring>, observer: O) -> Self {
        let mut plane = Self {
            wiring: Arc::default(),
            datapaths: Vec::new(),
            recorders: Vec::new(),
            captures: Vec::new(),
            scratch: Scratch::observed(observer),
            work: VecDeque::new(),
            emits: Vec::new(),
        };
        plane.set_wiring(wiring);
        plane
    }

    /// Replaces ports and links; each switch keeps its pipeline and its state.
    pub fn set_wiring(&mut self, wiring: Arc<Wiring>) {
        let mut old: Vec<Datapath> = self.datapaths.drain(..).flatten().collect();
        self.datapaths = wiring
            .devices
            .iter()
            .map(|wired| {
                let index = old
                    .iter()
                    .position(|datapath| datapath.device == wired.device)?;
                let mut datapath = old.swap_remove(index);
                datapath.ports = wired.port_set();
                Some(datapath)
            })
            .collect();
        self.wiring = wiring;
    }

    /// Replaces a switch's forwarding state, its program included; `None` takes the pipeline away. Nothing happens
    /// where there is no such switch.
    pub fn set_state(&mut self, device: DeviceId, state: Option<State>) {
        let Some(index) = self.wiring.index(device) else {
            return;
        };
        self.datapaths[index] = match (state, self.datapaths[index].take()) {
            (None, _) => None,
            (Some(state), Some(datapath)) => Some(Datapath { state, ..datapath }),
            (Some(state), None) => Some(Datapath {
                device,
                state,
                ports: self.wiring.devices[index].port_set(),
                salt: salt(device),
            }),
        };
    }

    /// Replaces the recorders; only the first 64 count.
    pub fn set_recorders(&mut self, recorders: Vec<Arc<Recorder>>) {
        self.recorders = recorders;
    }

    /// Replaces the watchers of ports.
    pub(crate) fn set_captures(&mut self, captures: Vec<Arc<Capture>>) {
        self.captures = captures;
    }

    /// Working memory, for drivers that receive into its buffers and give them back.
    pub fn scratch(&mut self) -> &mut Scratch<O> {
        &mut self.scratch
    }

    /// Ports and links.
    pub fn wiring(&self) -> &Arc<Wiring> {
        &self.wiring
    }

    /// Runs a packet that was received at a port until every copy has left or was dropped.
    pub fn inject(&mut self, at: Endpoint, packet: Packet, now: Nanos, out: &mut Vec<Exit>) {
        let Some(device) = self.wiring.index(at.device) else {
            return;
        };
        let trace = self.trace(&packet, self.wiring.medium(at));
        self.work.push_back(Work {
            device,
            in_port: at.port,
            packet,
            hops: 0,
            trace,
        });
        self.run(&[], now, out);
    }

    /// Runs a packet that the controller of `device` sent.
    pub fn packet_out(
        &mut self,
        device: DeviceId,
        metadata: &[(u32, u128)],
        packet: Packet,
        now: Nanos,
        out: &mut Vec<Exit>,
    ) {
        let Some(device) = self.wiring.index(device) else {
            return;
        };
        let trace = self.trace(&packet, Medium::L2);
        self.work.push_back(Work {
            device,
            in_port: PortNo::CPU,
            packet,
            hops: 0,
            trace,
        });
        self.run(metadata, now, out);
    }

    fn trace(&self, packet: &Packet, medium: Medium) -> Option<Box<Trace>> {
        if self.recorders.is_empty() {
            return None;
        }
        let flow = match medium {
            Medium::L2 => FlowKey::parse(packet.head()),
            Medium::L3 => FlowKey::parse_packet(packet.head()),
        };
        Trace::begin(&self.recorders, flow)
    }

    fn run(&mut self, metadata: &[(u32, u128)], now: Nanos, out: &mut Vec<Exit>) {
        let wiring = Arc::clone(&self.wiring);
        let mut copies = 1;
        while let Some(work) = self.work.pop_front() {
            let wired = &wiring.devices[work.device];
            self.step(wired, work, metadata, now, &mut copies, out);
        }
    }

    /// Runs one packet through one switch.
    fn step(
        &mut self,
        wired: &WiredDevice,
        work: Work,
        metadata: &[(u32, u128)],
        now: Nanos,
        copies: &mut u32,
        out: &mut Vec<Exit>,
    ) {
        let Work {
            device,
            in_port,
            packet,
            hops,
            trace,
        } = work;
        let arrival = Arrival {
            wired,
            in_port,
            now,
            trace,
            counts: O::COUNTS,
        };
        self.scratch.observer.entered(wired.device, in_port);
        if in_port != PortNo::CPU {
            let Some(port) = wired.port(in_port) else {
                return self.drop_copy(&arrival, packet, DropReason::NO_SUCH_PORT);
            };
            if !port.up {
                return self.drop_copy(&arrival, packet, DropReason::PORT_DOWN);
            }
            self.capture(&arrival, in_port, Direction::Inbound, &packet);
        }
        // Unless the parser can tell which headers do not count.
        self.scratch.counted = Counted {
            packets: packet.segments().into(),
            bytes: packet.wire_bytes(),
        };
        let Some(datapath) = &self.datapaths[device] else {
            arrival.received(self.scratch.counted);
            return self.drop_copy(&arrival, packet, DropReason::NO_PIPELINE);
        };
        if hops == HOP_LIMIT {
            arrival.received(self.scratch.counted);
            return self.drop_copy(&arrival, packet, DropReason::HOP_LIMIT);
        }
        let mut emits = std::mem::take(&mut self.emits);
        if in_port == PortNo::CPU {
            datapath.packet_out(&mut self.scratch, metadata, packet, now, &mut emits);
        } else {
            datapath.process(&mut self.scratch, in_port, packet, now, &mut emits);
        }
        arrival.received(self.scratch.counted);
        let mut left = 0;
        for emit in emits.drain(..) {
            match emit {
                Emit::Port { port, packet } => {
                    if left > 0 {
                        *copies = copies.saturating_add(1);
                    }
                    if let Some(&counted) = self.scratch.sent.get(left) {
                        self.scratch.counted = counted;
                    }
                    left += 1;
                    self.scratch.observer.leaves(port);
                    if *copies > COPY_LIMIT {
                        self.drop_copy(&arrival, packet, DropReason::COPY_LIMIT);
                    } else {
                        self.forward(&arrival, port, packet, hops, out);
                    }
                }
                Emit::PacketIn { metadata, packet } => {
                    arrival.finish(&self.recorders, PortNo::CPU, None);
                    out.push(Exit::PacketIn {
                        device: wired.device,
                        metadata,
                        packet,
                        medium: arrival.medium(),
                    });
                }
                Emit::Dropped { reason } => {
                    let (slot, name) = match &self.datapaths[device] {
                        Some(Datapath { state, .. }) => {
                            let name = state.program().drop_name(reason);
                            (state.drop_slot(reason), name)
                        }
                        None => (reason.0, ""),
                    };
                    arrival.dropped(&self.recorders, slot, name);
                }
            }
        }
        self.emits = emits;
    }

    /// Sends a copy on by a port: over a patch link or out of the process.
    fn forward(
        &mut self,
        arrival: &Arrival<'_>,
        number: PortNo,
        packet: Packet,
        hops: u8,
        out: &mut Vec<Exit>,
    ) {
        let Some(port) = arrival.wired.port(number) else {
            return self.drop_copy(arrival, packet, DropReason::NO_SUCH_PORT);
        };
        if !port.up {
            return self.drop_copy(arrival, packet, DropReason::PORT_DOWN);
        }
        if O::COUNTS {
            port.counters.sent(self.scratch.counted);
        }
        self.capture(arrival, number, Direction::Outbound, &packet);
        match &port.target {
            Target::Nothing | Target::Io(_) => {
                arrival.finish(&self.recorders, number, None);
                out.push(Exit::Port {
                    at: Endpoint {
                        device: arrival.wired.device,
                        port: number,
                    },
                    packet,
                });
            }
            &Target::Patch { device, port } => {
                self.scratch.observer.crosses();
                self.work.push_back(Work {
                    device,
                    in_port: port,
                    packet,
                    hops: hops + 1,
                    trace: arrival.with_hop(number),
                });
            }
        }
    }

    /// Shows a packet that passes a port to those who watch it.
    fn capture(&self, arrival: &Arrival<'_>, port: PortNo, direction: Direction, packet: &Packet) {
        if self.captures.is_empty() {
            return;
        }
        let at = Endpoint {
            device: arrival.wired.device,
            port,
        };
        for capture in &self.captures {
            capture.offer(at, direction, packet, arrival.now);
        }
    }

    fn drop_copy(&mut self, arrival: &Arrival<'_>, packet: Packet, reason: DropReason) {
        self.scratch.observer.dropped(reason);
        self.scratch.pool.recycle(packet);
        // One of those that every pipeline has.
        let name = DropReason::FIXED.get(usize::from(reason.0));
        arrival.dropped(&self.recorders, reason.0, name.copied().unwrap_or_default());
    }
}

/// Where a packet is: in a switch, with the trace of how it came there.
struct Arrival<'a> {
    wired: &'a WiredDevice,
    in_port: PortNo,
    /// When it came into the process.
    now: Nanos,
    trace: Option<Box<Trace>>,
    /// Whether it moves the counters.
    counts: bool,
}

impl Arrival<'_> {
    fn medium(&self) -> Medium {
        let port = self.wired.port(self.in_port);
        port.map_or(Medium::L2, |port| port.medium)
    }

    fn with_hop(&self, out_port: PortNo) -> Option<Box<Trace>> {
        let mut trace = self.trace.clone()?;
        trace.hop(Hop {
            device: self.wired.device,
            in_port: self.in_port,
            out_port,
        });
        Some(trace)
    }

    fn received(&self, counted: Counted) {
        if self.counts && self.in_port != PortNo::CPU {
            self.wired.counters(self.in_port).received(counted);
        }
    }

    fn finish(&self, recorders: &[Arc<Recorder>], out_port: PortNo, drop_reason: Option<String>) {
        if let Some(trace) = self.with_hop(out_port) {
            trace.finish(recorders, drop_reason);
        }
    }

    /// Counts a drop at the port of entry; `slot` is the reason's counter.
    fn dropped(&self, recorders: &[Arc<Recorder>], slot: u16, name: &str) {
        if self.counts {
            self.wired.counters(self.in_port).dropped(slot);
        }
        if self.trace.is_some() {
            self.finish(recorders, PortNo(0), Some(name.to_owned()));
        }
    }
}

impl WiredDevice {
    /// What the datapath knows of the ports.
    fn port_set(&self) -> PortSet {
        let info = |port: &WiredPort| PortInfo {
            mtu: port.mtu,
            up: port.up,
            is_l2: port.medium.is_l2(),
        };
        self.ports
            .iter()
            .map(|port| (port.number, info(port)))
            .collect()
    }
}

/// Spreads the switches' hashes apart (the finalizer of SplitMix64).
fn salt(device: DeviceId) -> u64 {
    let mixed = device.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
