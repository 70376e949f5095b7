//! Weighted choice among a group's members, stable for each flow.
//!
//! A group fills a table of slots by Maglev's method (Eisenbud et al., NSDI 2016): every member has its own
//! permutation of the slots, and members take turns, as often as their weights say, to claim the next free slot of
//! theirs. A flow's hash chooses a slot. So a change of the group that leaves the number of slots as it is moves few
//! flows, and the loss of a member, seen at
//! its watched port, moves that member's flows only: their hash is drawn again until it meets a live member.

#![expect(clippy::cast_possible_truncation, reason = "hashes are cut on purpose")]

use weft_proto::vocab::{MemberId, PortNo};

use crate::bits::{choose, mix};
use crate::ir::SelectorMode;
use crate::ports::PortSet;
use crate::table::Bound;

/// Slot counts; primes, so that every step length visits all slots.
const SLOTS: [usize; 4] = [251, 1021, 4093, 65_521];
/// Slots for each unit of weight, which bounds the error of shares to about 1 %.
const SLOTS_PER_WEIGHT: u64 = 100;
/// Members for whom a group may keep slots before they are there, which bounds what an empty one costs.
const MAX_ROOM: u32 = 40;
/// Draws before the first live member in order is taken.
const DRAWS: u64 = 8;

/// A group of weighted members.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    members: Box<[Member]>,
    /// Member by slot; empty where the first live member is taken.
    slots: Box<[u16]>,
}

/// One member.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) does: Does,
    /// 1 and up.
    pub(crate) weight: u32,
    /// The member is alive while this port is up.
    pub(crate) watch: Option<PortNo>,
}

/// What a member does.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    /// An action of its own, as in a one-shot set.
    Call(Bound),
    /// What the profile's member does, which may change under it.
    Member {
        id: MemberId,
        /// Where the profile keeps it.
        slot: u32,
    },
}

impl Group {
    /// Fills the slots; there are at most 65 535 members.
    pub(crate) fn new(mode: SelectorMode, members: Vec<Member>) -> Self {
        Self::with_room(mode, 0, members)
    }

    /// The same for a group that may come to have `room` members: it has slots enough from the start, since other
    /// slots would move all flows.
    pub(crate) fn with_room(mode: SelectorMode, room: u32, members: Vec<Member>) -> Self {
        let slots = match mode {
            SelectorMode::Hash => fill(&members, room.min(MAX_ROOM)),
            SelectorMode::FirstLive => Box::default(),
        };
        Self {
            members: members.into(),
            slots,
        }
    }

    /// The index of the live member for a flow's hash.
    pub(crate) fn choose(&self, hash: u64, ports: &PortSet) -> Option<usize> {
        let mut draw = hash;
        for attempt in 0..DRAWS {
            let slot = choose(draw, self.slots.len());
            let Some(&index) = self.slots.get(slot) else {
                break;
            };
            let index = usize::from(index);
            if self.members[index].is_alive(ports) {
                return Some(index);
            }
            draw = mix(draw, attempt);
        }
        self.members
            .iter()
            .position(|member| member.is_alive(ports))
    }

    /// The members, in the order that was given.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }
}

impl Member {
    /// Whether it may be chosen.
    pub(crate) fn is_alive(&self, ports: &PortSet) -> bool {
        self.watch.is_none_or(|port| ports.is_up(port))
    }

    /// What tells its permutation apart. A member of a profile keeps its flows when its action changes.
    fn identity(&self) -> u64 {
        match &self.does {
            Does::Member { id, .. } => mix(u64::MAX, id.0.into()),
            Does::Call(bound) => bound.args.iter().fold(bound.action.into(), |hash, arg| {
                mix(mix(hash, (*arg >> 64) as u64), *arg as u64)
            }),
        }
    }
}

fn fill(members: &[Member], room: u32) -> Box<[u16]> {
    match members {
        [] => return Box::default(),
        [_] => return Box::new([0]),
        _ => {}
    }
    let weights: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let weights = weights.max(room.into());
    let needed = usize::try_from(weights.saturating_mul(SLOTS_PER_WEIGHT)).unwrap_or(usize::MAX);
    let count = SLOTS.into_iter().find(|&count| count >= needed);
    let count = count.unwrap_or(SLOTS[SLOTS.len() - 1]);
    let mut walks: Vec<Walk> = walks(members, count);
    let largest = members
        .iter()
        .map(|member| member.weight)
        .max()
        .unwrap_or(1);
    let mut slots = vec![None; count];
    let mut free = count;
    while free > 0 {
        for (index, (walk, member)) in (0_u16..).zip(walks.iter_mut().zip(members)) {
            // A turn in each round of which the weight's share reaches a whole one.
            walk.credit += u64::from(member.weight);
            if walk.credit < u64::from(largest) || free == 0 {
                continue;
            }
            walk.credit -= u64::from(largest);
            while slots[walk.at].is_some() {
                walk.advance(count);
            }
            slots[walk.at] = Some(index);
            free -= 1;
        }
    }
    slots.into_iter().flatten().collect()
}

/// A member's permutation of the slots.
struct Walk {
    at: usize,
    step: usize,
    credit: u64,
}

impl Walk {
    fn advance(&mut self, count: usize) {
        // Both are less than `count`; a division here is most of the cost of a group.
        self.at += self.step;
        if self.at >= count {
            self.at -= count;
        }
    }
}

fn walks(members: &[Member], count: usize) -> Vec<Walk> {
    let mut seen = std::collections::BTreeMap::new();
    members
        .iter()
        .map(|member| {
            // Equal members are told apart by how many there were before.
            let identity = member.identity();
            let twin = seen
                .entry(identity)
                .and_modify(|n| *n += 1)
                .or_insert(0_u64);
            let hash = mix(identity, *twin);
            let at = choose(hash, count);
            let step = 1 + choose(mix(hash, 1), count - 1);
            Walk {
                at,
                step,
                credit: 0,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
