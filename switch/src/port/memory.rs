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
    to_switch: Mutex<VecDeque<Packet>>,
    from_switch: Mutex<VecDeque<Packet>>,
    sent: Condvar,
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
        if queue.len() < QUEUE_LIMIT {
            queue.push_back(packet);
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
            .wait_timeout_while(queue, timeout, |queue| queue.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    }

    /// The next frame that left the switch here, if one came within `timeout`.
    pub fn receive(&self, timeout: Duration) -> Option<Vec<u8>> {
        self.receive_packet(timeout).map(|packet| packet.to_vec())
    }
}

impl Shared {
    /// The next packet for the switch.
    pub(crate) fn take(&self) -> Option<Packet> {
        lock(&self.to_switch).pop_front()
    }

    /// Clears the wake-up; packets that come later signal again.
    pub(crate) fn clear_ready(&self) {
        self.ready.clear();
    }

    /// Hands a packet to the test; `false` when its queue is full.
    pub(crate) fn deliver(&self, packet: Packet) -> bool {
        let mut queue = lock(&self.from_switch);
        if queue.len() >= QUEUE_LIMIT {
            return false;
        }
        queue.push_back(packet);
        drop(queue);
        self.sent.notify_one();
        true
    }
}
