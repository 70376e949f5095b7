//! One direction of a link as a value: packets and `now` in, packets out later, fewer, or damaged.
//!
//! ```text
//! offer -> queue (rate, limit, active queue management) -> loss -> duplicate, corrupt -> delay, jitter, reorder -> poll
//! ```
//!
//! Time is the caller's. A direction does what is due whenever it is called, at the exact times at which it was due, so
//! a caller who comes late gets packets late but decides nothing: with equal seeds the same packets have the same
//! fates in virtual and in real time.
//!
//! A super-packet counts as its wire segments. Where segments can have different fates it is taken apart, without
//! copying it; consecutive segments that are due together leave as one super-packet again.
//!
//! Sizes are those of the customer's frame from destination MAC to payload; what [`Framing`] leaves out does not count.

mod impair;
mod pieces;
mod profile;
mod queue;
mod random;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

pub use pieces::Framing;
pub use profile::{
    CoDel, Discipline, Distribution, Jitter, Loss, Pie, Profile, ProfileError, QueueLimit,
    QueueProfile, Red, Segments,
};
pub use random::{StreamKey, WHOLE};

use crate::datapath::Nanos;
use crate::packet::{Packet, Pool};
use impair::{Delays, Losses};
use pieces::{Pieces, Unit, ip_size};
use queue::{Dropped, Queue};
use random::{Purpose, Stream};

/// Most bytes that a direction holds, waiting and flying; what comes more is dropped as from a full queue.
pub const MOST_BYTES: usize = 256 << 20;

/// Why a packet was lost on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropCause {
    /// The queue had no room.
    QueueFull,
    /// Active queue management dropped it.
    Aqm,
    /// Lost on the way.
    Loss,
    /// Larger than the link's MTU.
    Mtu,
    /// The link is down, or went down while the packet was on it.
    Down,
}

impl DropCause {
    /// All causes.
    pub const ALL: [Self; 5] = [
        Self::QueueFull,
        Self::Aqm,
        Self::Loss,
        Self::Mtu,
        Self::Down,
    ];

    /// Its name in counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "link-queue",
            Self::Aqm => "link-aqm",
            Self::Loss => "link-loss",
            Self::Mtu => "link-mtu",
            Self::Down => "link-down",
        }
    }
}

/// What has passed, in wire segments. At any time `entered + copies = left + dropped + on_link`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// What was sent onto the link.
    pub entered: u64,
    /// Bytes of it.
    pub entered_bytes: u64,
    /// What arrived.
    pub left: u64,
    /// Bytes of it.
    pub left_bytes: u64,
    /// What arrives a second time.
    pub copies: u64,
    /// What was dropped, in the order of [`DropCause::ALL`].
    pub dropped: [u64; DropCause::ALL.len()],
    /// What waits for the rate.
    pub waiting: u64,
    /// Bytes of it.
    pub waiting_bytes: u64,
    /// What is on its way.
    pub flying: u64,
    /// What was marked instead of dropped.
    pub marked: u64,
    /// What has a wrong bit.
    pub corrupted: u64,
    /// What was spared the delay.
    pub reordered: u64,
}

impl LinkCounters {
    /// What was dropped for a cause.
    pub fn dropped_by(&self, cause: DropCause) -> u64 {
        self.dropped[cause as usize]
    }

    /// What waits and what is on its way.
    pub fn on_link(&self) -> u64 {
        self.waiting + self.flying
    }
}

/// One direction of a link. With each packet goes a tag, of which its parts and its copies have their own.
#[derive(Debug)]
pub struct LinkDirection<T> {
    profile: Profile,
    key: StreamKey,
    is_up: bool,
    /// What waits for the rate; `None` without one.
    queue: Option<Queue>,
    /// When the line is free again.
    line: LineTime,
    on_way: OnWay,
    losses: Losses,
    delays: Delays,
    duplicates: Stream,
    corruptions: Stream,
    reorders: Stream,
    early: Stream,
    pieces: Pieces<T>,
    counters: LinkCounters,
    dropped: Vec<Dropped>,
    /// What was dropped since the caller asked last.
    lost: Vec<(T, DropCause)>,
    units: Vec<Unit>,
}

/// A time in nanoseconds with 32 binary digits after the point: rates divide nanoseconds, and rounding each packet would
/// add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct LineTime(u128);

impl LineTime {
    fn from_nanos(now: Nanos) -> Self {
        Self(u128::from(now.0) << 32)
    }

    /// The first whole nanosecond that is not before it.
    fn nanos(self) -> Nanos {
        let whole = (self.0 + u128::from(u32::MAX)) >> 32;
        Nanos(u64::try_from(whole).unwrap_or(u64::MAX))
    }

    /// After sending so many bytes at so many bits per second.
    fn after(self, bytes: u32, rate: u64) -> Self {
        let bits = u128::from(bytes) * 8 * 1_000_000_000;
        Self(self.0 + (bits << 32) / u128::from(rate.max(1)))
    }
}

/// A unit on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flying {
    at: Nanos,
    order: u64,
    unit: Unit,
}

impl Ord for Flying {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Units on their way, by the time at which they arrive.
#[derive(Debug, Default)]
struct OnWay {
    order: u64,
    /// Those that keep their order.
    line: VecDeque<Flying>,
    /// Those that overtake.
    spared: BinaryHeap<Reverse<Flying>>,
}

impl OnWay {
    /// Adds a unit that arrives after all others that keep their order, or one that does not wait for them.
    fn push(&mut self, unit: Unit, at: Nanos, overtakes: bool) {
        self.order += 1;
        let order = self.order;
        if overtakes {
            self.spared.push(Reverse(Flying { at, order, unit }));
            return;
        }
        let at = self.line.back().map_or(at, |last| at.max(last.at));
        self.line.push_back(Flying { at, order, unit });
    }

    fn next(&self) -> Option<Nanos> {
        let spared = self.spared.peek().map(|Reverse(flying)| flying.at);
        let line = self.line.front().map(|flying| flying.at);
        line.into_iter().chain(spared).min()
    }

    fn pop(&mut self, now: Nanos) -> Option<Unit> {
        let is_spared = match (self.line.front(), self.spared.peek()) {
            (Some(line), Some(Reverse(spared))) => spared < line,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if self.next()? > now {
            return None;
        }
        if is_spared {
            self.spared.pop().map(|Reverse(flying)| flying.unit)
        } else {
            self.line.pop_front().map(|flying| flying.unit)
        }
    }
}

impl<T: Clone> LinkDirection<T> {
    /// A direction that is up and empty. Its randomness is that of `key`.
    ///
    /// # Errors
    ///
    /// [`Profile::check`].
    pub fn new(key: StreamKey, profile: Profile) -> Result<Self, ProfileError> {
        profile.check()?;
        let queue = profile.rate.map(|rate| Queue::new(&profile.queue, rate));
        Ok(Self {
            profile,
            key,
            is_up: true,
            queue,
            line: LineTime::default(),
            on_way: OnWay::default(),
            losses: Losses::new(key),
            delays: Delays::new(key),
            duplicates: key.stream(Purpose::Duplicate),
            corruptions: key.stream(Purpose::Corrupt),
            reorders: key.stream(Purpose::Reorder),
            early: key.stream(Purpose::Queue),
            pieces: Pieces::default(),
            counters: LinkCounters::default(),
            dropped: Vec::new(),
            lost: Vec::new(),
            units: Vec::new(),
        })
    }

    /// What it does.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Whose randomness it has.
    pub fn key(&self) -> StreamKey {
        self.key
    }

    /// What has passed until the last call.
    pub fn counters(&self) -> LinkCounters {
        let (waiting, waiting_bytes) = self
            .queue
            .as_ref()
            .map_or((0, 0), |queue| (queue.packets(), queue.bytes()));
        LinkCounters {
            waiting,
            waiting_bytes,
            ..self.counters
        }
    }

    /// Changes what it does from now on. Packets on their way arrive when they were going to; what waits goes on
    /// waiting, at the new rate and under the new discipline.
    ///
    /// # Errors
    ///
    /// [`Profile::check`]; nothing has changed then.
    pub fn set_profile(
        &mut self,
        profile: Profile,
        now: Nanos,
        pool: &mut Pool,
    ) -> Result<(), ProfileError> {
        profile.check()?;
        self.advance(now);
        let is_same_queue = profile.queue == self.profile.queue;
        match (profile.rate, &mut self.queue) {
            (Some(rate), Some(queue)) if is_same_queue => queue.set_rate(rate),
            (rate, queue) => {
                let waiting = queue.as_mut().map(Queue::clear).unwrap_or_default();
                *queue = rate.map(|rate| Queue::new(&profile.queue, rate));
                for unit in waiting {
                    match queue {
                        Some(queue) => queue.push(unit, now, &mut self.early, &mut self.dropped),
                        None => self.units.push(unit),
                    }
                }
            }
        }
        self.profile = profile;
        let freed = std::mem::take(&mut self.units);
        for unit in freed {
            self.send(unit, now);
        }
        self.count_drops(pool);
        Ok(())
    }

    /// Takes the link down, which loses what is on it, or up.
    pub fn set_up(&mut self, is_up: bool, now: Nanos, pool: &mut Pool) {
        self.advance(now);
        self.is_up = is_up;
        if !is_up {
            let waiting = self.queue.as_mut().map(Queue::clear).unwrap_or_default();
            let mut lost = waiting;
            while let Some(unit) = self.on_way.pop(Nanos(u64::MAX)) {
                self.counters.flying -= u64::from(unit.count);
                lost.push(unit);
            }
            let cause = DropCause::Down;
            self.dropped
                .extend(lost.into_iter().map(|unit| Dropped { unit, cause }));
            self.line = LineTime::from_nanos(now);
        }
        self.count_drops(pool);
    }

    /// Sends a packet onto the link.
    pub fn offer(&mut self, packet: Packet, tag: T, framing: Framing, now: Nanos, pool: &mut Pool) {
        self.advance(now);
        let refused = if !self.is_up {
            Some(DropCause::Down)
        } else if self.is_too_large(&packet, framing) {
            Some(DropCause::Mtu)
        } else if self.pieces.held + packet.len() > MOST_BYTES {
            Some(DropCause::QueueFull)
        } else {
            None
        };
        let apart = refused.is_none() && self.profile.takes_segments_apart();
        let mut units = std::mem::take(&mut self.units);
        self.pieces
            .add(packet, tag, framing, apart, now, &mut units);
        for unit in units.drain(..) {
            self.counters.entered += u64::from(unit.count);
            self.counters.entered_bytes += u64::from(unit.bytes);
            match (refused, &mut self.queue) {
                (Some(cause), _) => self.dropped.push(Dropped { unit, cause }),
                (None, Some(queue)) => {
                    if queue.is_empty() {
                        self.line = self.line.max(LineTime::from_nanos(now));
                    }
                    queue.push(unit, now, &mut self.early, &mut self.dropped);
                    // The line takes the first one at once, where it is free: it does not wait.
                    self.advance(now);
                }
                (None, None) => self.send(unit, now),
            }
        }
        self.units = units;
        self.count_drops(pool);
    }

    /// The tags of what was dropped since the last call, one for each segment or packet that had a fate of its own.
    pub fn drops(&mut self) -> std::vec::Drain<'_, (T, DropCause)> {
        self.lost.drain(..)
    }

    /// When there is something to do next: a packet arrives, or the line is free for another one.
    pub fn next_event(&self) -> Option<Nanos> {
        let is_waiting = self.queue.as_ref().is_some_and(|queue| !queue.is_empty());
        let line = is_waiting.then(|| self.line.nanos());
        self.on_way.next().into_iter().chain(line).min()
    }

    /// Appends the packets that have arrived, in order.
    pub fn poll(&mut self, now: Nanos, pool: &mut Pool, out: &mut Vec<(Packet, T)>) {
        self.advance(now);
        let mut joined: Option<(Unit, u32)> = None;
        while let Some(unit) = self.on_way.pop(now) {
            self.counters.flying -= u64::from(unit.count);
            joined = match joined.take() {
                Some((mut run, uses)) if run.is_followed_by(&unit) => {
                    run.count += unit.count;
                    run.bytes += unit.bytes;
                    Some((run, uses + 1))
                }
                Some((run, uses)) => {
                    self.deliver(&run, uses, pool, out);
                    Some((unit, 1))
                }
                None => Some((unit, 1)),
            };
        }
        if let Some((run, uses)) = joined {
            self.deliver(&run, uses, pool, out);
        }
        self.count_drops(pool);
    }

    fn deliver(&mut self, run: &Unit, uses: u32, pool: &mut Pool, out: &mut Vec<(Packet, T)>) {
        self.counters.left += u64::from(run.count);
        self.counters.left_bytes += u64::from(run.bytes);
        out.extend(self.pieces.take(run, uses, pool));
    }

    /// Sends what waits, as far as the line has been free for it.
    fn advance(&mut self, now: Nanos) {
        let limit = LineTime::from_nanos(now);
        while let Some(queue) = &mut self.queue
            && !queue.is_empty()
            && self.line <= limit
        {
            let at = self.line.nanos();
            let Some(unit) = queue.pop(at, &mut self.dropped) else {
                continue;
            };
            let rate = self.profile.rate.unwrap_or(u64::MAX);
            self.line = self.line.after(unit.bytes, rate);
            let sent = self.line.nanos();
            self.send(unit, sent);
        }
    }

    /// Lets a unit go onto the way at a time that may not have come yet.
    fn send(&mut self, mut unit: Unit, at: Nanos) {
        let profile = &self.profile;
        self.counters.marked += u64::from(unit.is_marked) * u64::from(unit.count);
        if self.losses.next(&profile.loss) {
            let cause = DropCause::Loss;
            self.dropped.push(Dropped { unit, cause });
            return;
        }
        let copies = u8::from(profile.duplicate > 0 && self.duplicates.happens(profile.duplicate));
        for copy in 0..=copies {
            if copy > 0 {
                self.pieces.copy(&unit);
                self.counters.copies += u64::from(unit.count);
            }
            unit.corrupt = (profile.corrupt > 0 && self.corruptions.happens(profile.corrupt))
                .then(|| self.corruptions.next());
            self.counters.corrupted += u64::from(unit.corrupt.is_some()) * u64::from(unit.count);
            let overtakes = profile.reorder > 0 && self.reorders.happens(profile.reorder);
            let way = if overtakes {
                self.counters.reordered += u64::from(unit.count);
                0
            } else {
                self.delays.next(profile.delay_ns, &profile.jitter)
            };
            self.counters.flying += u64::from(unit.count);
            let arrives = Nanos(at.0.saturating_add(way));
            self.on_way.push(unit, arrives, overtakes);
        }
    }

    fn is_too_large(&self, packet: &Packet, framing: Framing) -> bool {
        let Some(mtu) = self.profile.mtu else {
            return false;
        };
        let size = ip_size(packet, framing.is_l2);
        size.is_some_and(|size| size > mtu as usize)
    }

    fn count_drops(&mut self, pool: &mut Pool) {
        for Dropped { unit, cause } in self.dropped.drain(..) {
            self.counters.dropped[cause as usize] += u64::from(unit.count);
            let tag = self.pieces.tag(unit.parent).cloned();
            self.lost.extend(tag.map(|tag| (tag, cause)));
            self.pieces.release(unit.parent, 1, pool);
        }
    }
}

impl Unit {
    /// Whether the next unit to arrive can leave in one packet with this one.
    fn is_followed_by(&self, next: &Self) -> bool {
        next.parent == self.parent
            && next.first == self.first + self.count
            && next.is_marked == self.is_marked
            && next.corrupt.is_none()
            && self.corrupt.is_none()
    }
}
