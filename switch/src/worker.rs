//! Worker threads, as the rest of the host sees them: started with the host, told by commands, joined at its end.
//!
//! A worker that ends without being told to, by a panic or because the system refuses it what it needs, is not
//! replaced: what it held of a packet may be half done. It is reported ([`Threads::lost`]), and whoever runs the
//! process ends it, so that nobody takes a network for whole that forwards with some of its threads.
//!
//! A worker forwards by its own [`Plane`](crate::plane::Plane), which only commands change; a command is acknowledged
//! when packets that are read from then on see it.

mod thread;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use weft_proto::vocab::DeviceId;

use crate::capture::Capture;
use crate::datapath::Nanos;
use crate::packet::Packet;
use crate::patch::Wiring;
use crate::port::sys::EventFd;
use crate::recorder::Recorder;
use crate::state::State;
use thread::{Share, Worker};

/// Packets from controllers that wait for a worker; more are refused.
const MAX_PACKET_OUTS: usize = 4096;

/// A change of a worker's plane.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Ports and links.
    Wiring(Arc<Wiring>),
    /// A switch's pipeline and entries; `None` takes the pipeline away.
    State(DeviceId, Option<State>),
    /// Recorders of paths.
    Recorders(Vec<Arc<Recorder>>),
    /// Watchers of ports.
    Captures(Vec<Arc<Capture>>),
}

/// What a worker is asked to do.
#[derive(Debug)]
enum Command {
    Change(Change, Ack),
    PacketOut(PacketOut),
}

/// A packet from a switch's controller.
#[derive(Debug)]
pub(crate) struct PacketOut {
    /// The switch.
    pub(crate) device: DeviceId,
    /// Metadata id and value.
    pub(crate) metadata: Vec<(u32, u128)>,
    /// The packet.
    pub(crate) packet: Packet,
}

/// Tells that a change is in force; dropped unsent when the worker has ended.
#[derive(Debug)]
enum Ack {
    Task(oneshot::Sender<()>),
    Thread(mpsc::Sender<()>),
}

/// The worker has ended.
#[derive(Debug)]
pub(crate) struct Stopped;

/// Why a controller's packet was refused.
#[derive(Debug)]
pub(crate) enum PacketOutError {
    /// Too many wait already.
    Busy,
    /// The worker has ended.
    Stopped,
}

impl From<Stopped> for PacketOutError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Where packets for controllers go. Called from workers; must not block.
pub(crate) trait PacketInSink: Send + Sync + 'static {
    /// Takes a packet for the primary controllers of `device`; `false` when nobody got it.
    fn packet_in(&self, device: DeviceId, metadata: &[(u32, u128)], packet: &Packet) -> bool;
}

/// What all handles of one worker and its thread share.
#[derive(Debug)]
struct Mailbox {
    wake: EventFd,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    commands: Vec<Command>,
    stop: bool,
}

/// The workers of a host, for those who have something to tell them.
#[derive(Debug)]
pub(crate) struct Workers {
    mailboxes: Vec<Arc<Mailbox>>,
}

/// The threads of the workers. Dropping it ends and joins them.
#[derive(Debug)]
pub(crate) struct Threads {
    mailboxes: Vec<Arc<Mailbox>>,
    threads: Vec<JoinHandle<()>>,
    /// Cancelled when a worker has ended that was not told to.
    lost: CancellationToken,
}

/// A change that was sent, and is not yet known to be in force everywhere.
#[derive(Debug)]
#[must_use = "a change is in force only when it was waited for"]
pub(crate) struct Pending(Vec<oneshot::Receiver<()>>);

/// The same, for a caller that can block.
#[derive(Debug)]
#[must_use = "a change is in force only when it was waited for"]
pub(crate) struct PendingBlocking {
    workers: usize,
    done: mpsc::Receiver<()>,
}

impl Mailbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A queue is whole between any two operations on it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, command: Command) -> Result<(), Stopped> {
        let mut queue = self.queue();
        if queue.stop {
            return Err(Stopped);
        }
        queue.commands.push(command);
        drop(queue);
        self.wake.signal();
        Ok(())
    }

    /// Takes no more commands; true when it took none before.
    fn stop(&self) -> bool {
        let mut queue = self.queue();
        let stopped = std::mem::replace(&mut queue.stop, true);
        // Whoever waits for an acknowledgement learns that there is none.
        queue.commands.clear();
        drop(queue);
        self.wake.signal();
        stopped
    }
}

impl Ack {
    fn send(self) {
        // Nobody waits any more: then nobody needs to know.
        match self {
            Self::Task(sender) => drop(sender.send(())),
            Self::Thread(sender) => drop(sender.send(())),
        }
    }
}

impl Workers {
    /// Starts `count` workers with `wiring`.
    ///
    /// # Errors
    /// When the system refuses a thread or a descriptor.
    pub(crate) fn start(
        count: usize,
        spin: Duration,
        start: Instant,
        wiring: &Arc<Wiring>,
        sink: &Arc<dyn PacketInSink>,
    ) -> io::Result<(Self, Threads)> {
        let mut threads = Threads {
            mailboxes: Vec::new(),
            threads: Vec::new(),
            lost: CancellationToken::new(),
        };
        for index in 0..count {
            let mailbox = Arc::new(Mailbox {
                wake: EventFd::new()?,
                queue: Mutex::default(),
            });
            let share = Share { index, count };
            let mut worker = Worker::new(share, Arc::clone(&mailbox), Arc::clone(sink), start)?;
            worker.spin = spin;
            worker.set_wiring(Arc::clone(wiring));
            threads.mailboxes.push(mailbox);
            let lost = threads.lost.clone();
            let thread = std::thread::Builder::new()
                .name(format!("weft-data-{index}"))
                .spawn(move || worker.run(lost))?;
            threads.threads.push(thread);
        }
        let workers = Self {
            mailboxes: threads.mailboxes.clone(),
        };
        Ok((workers, threads))
    }

    /// Sends a change to every worker. Changes that are sent one after the other are made in that order.
    pub(crate) fn apply(&self, change: &Change) -> Result<Pending, Stopped> {
        let mut pending = Vec::with_capacity(self.mailboxes.len());
        for mailbox in &self.mailboxes {
            let (ack, done) = oneshot::channel();
            mailbox.send(Command::Change(change.clone(), Ack::Task(ack)))?;
            pending.push(done);
        }
        Ok(Pending(pending))
    }

    /// The same, for a caller that can block.
    pub(crate) fn apply_blocking(&self, change: &Change) -> Result<PendingBlocking, Stopped> {
        let (ack, done) = mpsc::channel();
        for mailbox in &self.mailboxes {
            mailbox.send(Command::Change(change.clone(), Ack::Thread(ack.clone())))?;
        }
        Ok(PendingBlocking {
            workers: self.mailboxes.len(),
            done,
        })
    }

    /// Sends a controller's packet on its way.
    pub(crate) fn packet_out(&self, packet: PacketOut) -> Result<(), PacketOutError> {
        let index = usize::try_from(packet.device.0).unwrap_or(0) % self.mailboxes.len().max(1);
        let mailbox = self.mailboxes.get(index).ok_or(PacketOutError::Stopped)?;
        if mailbox.queue().commands.len() >= MAX_PACKET_OUTS {
            return Err(PacketOutError::Busy);
        }
        Ok(mailbox.send(Command::PacketOut(packet))?)
    }
}

impl Pending {
    /// Ready when every worker forwards by the change.
    pub(crate) async fn wait(self) -> Result<(), Stopped> {
        for done in self.0 {
            done.await.map_err(|_| Stopped)?;
        }
        Ok(())
    }
}

impl PendingBlocking {
    /// Blocks until every worker forwards by the change: for the batch of frames that one may be at.
    pub(crate) fn wait(self) -> Result<(), Stopped> {
        for _ in 0..self.workers {
            self.done.recv().map_err(|_| Stopped)?;
        }
        Ok(())
    }
}

impl Threads {
    /// Cancelled when a worker has ended that was not told to.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for mailbox in &self.mailboxes {
            mailbox.stop();
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("worker panicked");
            }
        }
    }
}

/// The time that the cores are given: nanoseconds since the host has started.
#[expect(
    clippy::disallowed_methods,
    reason = "drivers give the cores their time"
)]
pub(crate) fn nanos_since(start: Instant) -> Nanos {
    let elapsed = Instant::now().duration_since(start).as_nanos();
    Nanos(u64::try_from(elapsed).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{PortSpec, SwitchSpec};
    use crate::patch::Topology;
    use crate::program::Program;

    /// Sends every packet to the controller.
    const PUNT: &str = r#"{
        "name": "punt", "version": "1", "headers": [], "instances": [], "actions": [], "tables": [], "deparser": [],
        "parser": { "start": "start", "states": [{ "name": "start", "default": "accept" }] },
        "ingress": { "start": "punt", "nodes": [
            { "name": "punt", "kind": { "run": { "ops": ["toController"], "next": null } } } ] }
    }"#;

    struct Trap;

    impl PacketInSink for Trap {
        fn packet_in(&self, _: DeviceId, _: &[(u32, u128)], _: &Packet) -> bool {
            panic!("no worker survives this packet");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a driver's test")]
    fn workers() -> (Workers, Threads) {
        let port = PortSpec {
            number: weft_proto::vocab::PortNo(1),
            name: "p1".into(),
            mtu: 1500,
            medium: crate::ports::Medium::L2,
        };
        let switch = SwitchSpec {
            name: "s1".into(),
            device_id: DeviceId(1),
            ports: vec![port],
        };
        let topology = Topology::new(vec![switch], Vec::new()).unwrap();
        let sink: Arc<dyn PacketInSink> = Arc::new(Trap);
        let wiring = Arc::new(topology.wiring());
        Workers::start(2, Duration::ZERO, Instant::now(), &wiring, &sink).unwrap()
    }

    fn change() -> Change {
        let program = Program::new(serde_json::from_str(PUNT).unwrap()).unwrap();
        Change::State(DeviceId(1), Some(State::new(Arc::new(program))))
    }

    #[tokio::test]
    async fn a_worker_that_panics_is_reported() {
        let (workers, threads) = workers();
        workers.apply_blocking(&change()).unwrap().wait().unwrap();
        assert!(!threads.lost().is_cancelled());
        let packet_out = PacketOut {
            device: DeviceId(1),
            metadata: Vec::new(),
            packet: Packet::from_bytes(&[0; 60]),
        };
        workers.packet_out(packet_out).unwrap();
        let lost = threads.lost().cancelled();
        tokio::time::timeout(Duration::from_secs(10), lost)
            .await
            .unwrap();
        assert!(
            workers.apply(&change()).is_err(),
            "nobody waits for a worker that is gone"
        );
    }

    #[test]
    fn a_worker_that_is_told_to_end_is_not_lost() {
        let (_workers, threads) = workers();
        let lost = threads.lost().clone();
        drop(threads);
        assert!(!lost.is_cancelled());
    }
}
