//! A port made of two queues: what a test sends enters the switch, what leaves the switch the test receives.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::sys::EventFd;
use crate::packet::Packet;

/// Most packets that wait in one direction; more are lost, as on a full device queue.
const QUEUE_LIMIT: usize = 4096;

/// The test's end of a memory port. Clones are the same end.
#[derive(Clone, Debug)]
pub struct MemoryPort {
    pub(crate) shared: Arc<Shared>,
}

/// Both queues.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Wakes the worker that owns the port.
    pub(crate) ready: EventFd,
    to_switch: Mutex<Queue>,
    from_switch: Mutex<Queue>,
    /// The switch has taken a packet, or the queues are closed.
    taken: Condvar,
    /// A packet has left the switch, or the queues are closed.
    sent: Condvar,
}

/// Packets on their way in one direction.
#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Packet>,
    /// Nobody is at the other end any more.
    is_closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A queue is whole between any two operations on it, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryPort {
    /// A port with empty queues.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                ready: EventFd::new()?,
                to_switch: Mutex::default(),
                from_switch: Mutex::default(),
                taken: Condvar::new(),
                sent: Condvar::new(),
            }),
        })
    }

    /// Sends an Ethernet frame into the switch.
    pub fn send(&self, frame: &[u8]) {
        self.send_packet(Packet::from_bytes(frame));
    }

    /// Sends a packet into the switch, super-packet or not.
    pub fn send_packet(&self, packet: Packet) {
        let mut queue = lock(&self.shared.to_switch);
        if queue.packets.len() < QUEUE_LIMIT {
            queue.packets.push_back(packet);
        }
        drop(queue);
        self.shared.ready.signal();
    }

    /// The next packet that left the switch here, if one came within `timeout`.
    pub fn receive_packet(&self, timeout: Duration) -> Option<Packet> {
        let queue = lock(&self.shared.from_switch);
        let (mut queue, _) = self
            .shared
            .sent
            .wait_timeout_while(queue, timeout, |queue| queue.packets.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        queue.packets.pop_front()
    }

    /// The next frame that left the switch here, if one came within `timeout`.
    pub fn receive(&self, timeout: Duration) -> Option<Vec<u8>> {
        self.receive_packet(timeout).map(|packet| packet.to_vec())
    }
}

impl Shared {
    /// The next packet for the switch.
    pub(crate) fn take(&self) -> Option<Packet> {
        let packet = lock(&self.to_switch).packets.pop_front();
        self.taken.notify_all();
        packet
    }

    /// Sends a packet into the switch as soon as there is room; false when the queues are closed before.
    pub(crate) fn send_when_room(&self, packet: Packet) -> bool {
        let is_full = |queue: &mut Queue| queue.packets.len() >= QUEUE_LIMIT && !queue.is_closed;
        let queue = self.taken.wait_while(lock(&self.to_switch), is_full);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        if queue.is_closed {
            return false;
        }
        queue.packets.push_back(packet);
        drop(queue);
        self.ready.signal();
        true
    }

    /// Waits until the switch has taken all packets, or the queues are closed.
    pub(crate) fn wait_until_taken(&self) {
        let is_busy = |queue: &mut Queue| !queue.packets.is_empty() && !queue.is_closed;
        drop(self.taken.wait_while(lock(&self.to_switch), is_busy));
    }

    /// The next packet that left the switch; `None` when the queues are closed and all packets are out.
    pub(crate) fn receive_until_closed(&self) -> Option<Packet> {
        let is_waiting = |queue: &mut Queue| queue.packets.is_empty() && !queue.is_closed;
        let queue = self.sent.wait_while(lock(&self.from_switch), is_waiting);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        queue.packets.pop_front()
    }

    /// Ends all waiting; packets that come later are refused.
    pub(crate) fn close(&self) {
        for queue in [&self.to_switch, &self.from_switch] {
            lock(queue).is_closed = true;
        }
        self.taken.notify_all();
        self.sent.notify_all();
    }

    /// Clears the wake-up; packets that come later signal again.
    pub(crate) fn clear_ready(&self) {
        self.ready.clear();
    }

    /// Hands a packet to the test; `false` when its queue is full.
    pub(crate) fn deliver(&self, packet: Packet) -> bool {
        let mut queue = lock(&self.from_switch);
        if queue.packets.len() >= QUEUE_LIMIT || queue.is_closed {
            return false;
        }
        queue.packets.push_back(packet);
        drop(queue);
        self.sent.notify_one();
        true
    }
}
