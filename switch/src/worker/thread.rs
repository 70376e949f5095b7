//! A worker's loop: wait for frames, read a batch of each port, run each to completion, write what leaves.
//!
//! A worker owns the receiving side of some ports and sends by all. Without traffic it sleeps.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Change, Command, Mailbox, PacketInSink, PacketOut, nanos_since};
use crate::counters::PortCounters;
use crate::datapath::Nanos;
use crate::drops::DropReason;
use crate::host::Endpoint;
use crate::packet::{Packet, RxBuffer};
use crate::patch::{Target, Wiring};
use crate::plane::{Exit, Plane};
use crate::port::sys::{Epoll, Events};
use crate::port::{Device, PortIo, PortKind};
use crate::ports::Medium;
use crate::segment;

/// Frames that are read from one port before the next has its turn.
const BATCH: usize = 32;
/// Ports that one wait reports.
const EVENTS: usize = 64;
/// The token of the wake-up; ports have their ids, 1 and up.
const WAKE: u64 = 0;

/// The state of one worker thread.
pub(super) struct Worker {
    share: Share,
    pub(super) spin: Duration,
    mailbox: Arc<Mailbox>,
    sink: Arc<dyn PacketInSink>,
    epoll: Epoll,
    plane: Plane,
    /// Ports that this worker reads, by their ids.
    owned: HashMap<u64, Owned>,
    rx: RxBuffer,
    exits: Vec<Exit>,
    /// Room for the segments of a super-packet.
    frames: Vec<Packet>,
    start: Instant,
}

/// Which ports a worker reads: those whose id leaves `index` when divided by `count`.
#[derive(Clone, Copy)]
pub(super) struct Share {
    pub(super) index: usize,
    pub(super) count: usize,
}

/// A port that a worker reads.
struct Owned {
    at: Endpoint,
    io: Arc<PortIo>,
}

impl Share {
    fn owns(self, port: u64) -> bool {
        usize::try_from(port).is_ok_and(|port| port % self.count.max(1) == self.index)
    }
}

impl Worker {
    pub(super) fn new(
        share: Share,
        mailbox: Arc<Mailbox>,
        sink: Arc<dyn PacketInSink>,
        start: Instant,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(mailbox.wake.as_fd(), WAKE)?;
        let mut plane = Plane::default();
        let rx = plane.scratch().pool.rx();
        Ok(Self {
            share,
            spin: Duration::ZERO,
            mailbox,
            sink,
            epoll,
            plane,
            owned: HashMap::new(),
            rx,
            exits: Vec::new(),
            frames: Vec::new(),
            start,
        })
    }

    fn now(&self) -> Nanos {
        nanos_since(self.start)
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self, lost: CancellationToken) {
        // Also when this thread panics: nobody shall wait for it, and everybody shall know.
        let _stop = StopOnDrop {
            worker: self.share.index,
            mailbox: Arc::clone(&self.mailbox),
            lost,
        };
        let mut events = Events::with_room(EVENTS);
        loop {
            if let Err(error) = self.wait(&mut events) {
                tracing::error!(%error, worker = self.share.index, "worker cannot wait for frames");
                return;
            }
            for index in 0..events.count() {
                match events.token(index) {
                    WAKE => {
                        if self.obey() {
                            return;
                        }
                    }
                    token => self.receive(token),
                }
            }
        }
    }

    /// Waits for frames or commands: polls for the time of `spin`, then sleeps.
    fn wait(&self, events: &mut Events) -> io::Result<()> {
        if !self.spin.is_zero() {
            let begin = self.now();
            let spin = u64::try_from(self.spin.as_nanos()).unwrap_or(u64::MAX);
            while self.now().0.saturating_sub(begin.0) < spin {
                self.epoll.wait(events, Some(Duration::ZERO))?;
                if events.count() > 0 {
                    return Ok(());
                }
                std::hint::spin_loop();
            }
        }
        self.epoll.wait(events, None)
    }

    /// Does what it was told; `true` for the end.
    fn obey(&mut self) -> bool {
        self.mailbox.wake.clear();
        let (commands, stop) = {
            let mut queue = self.mailbox.queue();
            (std::mem::take(&mut queue.commands), queue.stop)
        };
        for command in commands {
            match command {
                Command::Change(change, ack) => {
                    self.change(change);
                    ack.send();
                }
                Command::PacketOut(PacketOut {
                    device,
                    metadata,
                    packet,
                }) => {
                    let now = self.now();
                    self.plane
                        .packet_out(device, &metadata, packet, now, &mut self.exits);
                    self.send();
                }
            }
        }
        stop
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Wiring(wiring) => self.set_wiring(wiring),
            Change::State(device, state) => self.plane.set_state(device, state),
            Change::Recorders(recorders) => self.plane.set_recorders(recorders),
            Change::Captures(captures) => self.plane.set_captures(captures),
        }
    }

    /// Takes over its share of the ports that are new, and lets go of those that are gone.
    pub(super) fn set_wiring(&mut self, wiring: Arc<Wiring>) {
        let mut owned = HashMap::new();
        for (at, io) in wiring.devices() {
            if !self.share.owns(io.id()) {
                continue;
            }
            let io = Arc::clone(io);
            if self.owned.remove(&io.id()).is_none()
                && let Err(error) = self.epoll.add(io.ready_fd(), io.id())
            {
                tracing::error!(%error, dpid = at.device.0, port = at.port.0, "port cannot be read");
            }
            owned.insert(io.id(), Owned { at, io });
        }
        for (_, gone) in std::mem::replace(&mut self.owned, owned) {
            self.forget(&gone);
        }
        self.plane.set_wiring(wiring);
    }

    fn forget(&self, port: &Owned) {
        if let Err(error) = self.epoll.remove(port.io.ready_fd()) {
            tracing::debug!(%error, "port was not watched");
        }
    }

    /// Reads a batch from a port that has frames.
    fn receive(&mut self, token: u64) {
        let Some(port) = self.owned.get(&token) else {
            return;
        };
        let (at, io) = (port.at, Arc::clone(&port.io));
        let now = self.now();
        match io.kind() {
            PortKind::Device(device) => self.receive_device(token, at, device, now),
            PortKind::Memory(memory) | PortKind::Pcap(memory) => {
                memory.shared.clear_ready();
                let mut budget = BATCH;
                while let Some(packet) = memory.shared.take() {
                    self.forward(at, packet, now);
                    budget -= 1;
                    if budget == 0 {
                        memory.shared.ready.signal();
                        break;
                    }
                }
            }
        }
    }

    fn receive_device(&mut self, token: u64, at: Endpoint, device: &Device, now: Nanos) {
        for _ in 0..BATCH {
            match device.read(&mut self.rx, &mut self.plane.scratch().pool) {
                Ok(packet) => self.forward(at, packet, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // The device is gone, perhaps with its namespace: it would be reported for ever.
                    tracing::warn!(%error, dpid = at.device.0, port = at.port.0, "port has failed");
                    if let Some(port) = self.owned.get(&token) {
                        self.forget(port);
                    }
                    return;
                }
            }
        }
    }

    fn forward(&mut self, at: Endpoint, packet: Packet, now: Nanos) {
        self.plane.inject(at, packet, now, &mut self.exits);
        self.send();
    }

    /// Writes what left the plane.
    fn send(&mut self) {
        let mut exits = std::mem::take(&mut self.exits);
        for exit in exits.drain(..) {
            match exit {
                Exit::Port { at, packet } => self.transmit(at, packet),
                Exit::PacketIn {
                    device,
                    metadata,
                    packet,
                    medium,
                } => {
                    let mut frames = self.whole_frames(packet, medium);
                    for frame in frames.drain(..) {
                        if !self.sink.packet_in(device, &metadata, &frame) {
                            self.plane.wiring().lost_by_controller(device);
                        }
                        self.plane.scratch().pool.recycle(frame);
                    }
                    self.frames = frames;
                }
            }
        }
        self.exits = exits;
    }

    fn transmit(&mut self, at: Endpoint, packet: Packet) {
        let wiring = Arc::clone(self.plane.wiring());
        let Some(port) = wiring.port(at) else {
            return;
        };
        let Target::Io(io) = &port.target else {
            port.counters.dropped(DropReason::PORT_DOWN.0);
            return;
        };
        match io.kind() {
            PortKind::Memory(memory) | PortKind::Pcap(memory) => {
                if !memory.shared.deliver(packet) {
                    port.counters.dropped(DropReason::DEVICE_REFUSED.0);
                }
            }
            PortKind::Device(device) if device.takes(&packet) => {
                self.write(at, device, &port.counters, packet);
            }
            PortKind::Device(device) => {
                let mut frames = self.whole_frames(packet, device.medium());
                port.counters.split(frames.len());
                for frame in frames.drain(..) {
                    self.write(at, device, &port.counters, frame);
                }
                self.frames = frames;
            }
        }
    }

    fn write(&mut self, at: Endpoint, device: &Device, counters: &PortCounters, packet: Packet) {
        if let Err(error) = device.write(&packet) {
            tracing::trace!(%error, dpid = at.device.0, port = at.port.0, "frame refused");
            counters.dropped(DropReason::DEVICE_REFUSED.0);
        }
        self.plane.scratch().pool.recycle(packet);
    }

    /// Does in software what the offload header leaves to a device. The caller gives the vector back to `frames`.
    fn whole_frames(&mut self, packet: Packet, medium: Medium) -> Vec<Packet> {
        let mut frames = std::mem::take(&mut self.frames);
        let pool = &mut self.plane.scratch().pool;
        segment::without_offloads(packet, medium.is_l2(), pool, &mut frames);
        frames
    }
}

/// Refuses commands from the moment that the worker's thread ends, and reports an end that nobody asked for.
struct StopOnDrop {
    worker: usize,
    mailbox: Arc<Mailbox>,
    lost: CancellationToken,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if !self.mailbox.stop() {
            let panicked = std::thread::panicking();
            tracing::error!(worker = self.worker, panicked, "worker has ended unasked");
            self.lost.cancel();
        }
    }
}
