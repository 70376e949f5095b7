//! One number for an entry, so that the sum over a table does not depend on the order of writes.

#![expect(
    clippy::cast_possible_truncation,
    reason = "values are taken in two halves"
)]

use weft_proto::vocab::{
    ActionCall, FieldMatch, ProfileGroup, ProfileMember, TableAction, TableEntry,
};

use crate::bits::mix;

/// Two independent 64-bit hashes over everything that a controller writes.
pub(super) fn entry(entry: &TableEntry) -> u128 {
    let mut sum = Lanes([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
    sum.word(entry.key.table.0.into());
    sum.word(u64::from(entry.key.priority.cast_unsigned()));
    sum.word(entry.is_default.into());
    sum.word(entry.idle_timeout_ns.cast_unsigned());
    sum.word(entry.key.matches.len() as u64);
    for (field, found) in &entry.key.matches {
        sum.word(field.0.into());
        let (kind, a, b) = match *found {
            FieldMatch::Exact(value) => (1, value, 0),
            FieldMatch::Lpm { value, prefix_len } => (2, value, prefix_len.into()),
            FieldMatch::Ternary { value, mask } => (3, value, mask),
            FieldMatch::Range { low, high } => (4, low, high),
            FieldMatch::Optional(value) => (5, value, 0),
        };
        sum.word(kind);
        sum.value(a);
        sum.value(b);
    }
    match &entry.action {
        None => sum.word(0),
        Some(TableAction::Call(call)) => {
            sum.word(1);
            sum.call(call);
        }
        Some(TableAction::Member(id)) => {
            sum.word(3);
            sum.word(id.0.into());
        }
        Some(TableAction::Group(id)) => {
            sum.word(4);
            sum.word(id.0.into());
        }
        Some(TableAction::OneShot(members)) => {
            sum.word(2);
            sum.word(members.len() as u64);
            for member in members {
                sum.word(member.weight.into());
                sum.word(member.watch_port.map_or(0, |port| u64::from(port.0) + 1));
                sum.call(&member.call);
            }
        }
    }
    sum.word(entry.metadata.len() as u64);
    for chunk in entry.metadata.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum.word(u64::from_be_bytes(word));
    }
    sum.finish()
}

/// The same over a member of an action profile.
pub(super) fn member(member: &ProfileMember) -> u128 {
    let mut sum = Lanes([0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);
    sum.word(member.profile.0.into());
    sum.word(member.id.0.into());
    sum.call(&member.call);
    sum.finish()
}

/// The same over a group of an action selector.
pub(super) fn group(group: &ProfileGroup) -> u128 {
    let mut sum = Lanes([0x4528_21e6_38d0_1377, 0xbe54_66cf_34e9_0c6c]);
    sum.word(group.profile.0.into());
    sum.word(group.id.0.into());
    sum.word(group.max_size.into());
    sum.word(group.members.len() as u64);
    for member in &group.members {
        sum.word(member.member.0.into());
        sum.word(member.weight.into());
        sum.word(member.watch_port.map_or(0, |port| u64::from(port.0) + 1));
    }
    sum.finish()
}

struct Lanes([u64; 2]);

impl Lanes {
    fn finish(&self) -> u128 {
        u128::from(self.0[0]) << 64 | u128::from(self.0[1])
    }

    fn word(&mut self, word: u64) {
        self.0 = self.0.map(|lane| mix(lane, word));
    }

    fn value(&mut self, value: u128) {
        self.word((value >> 64) as u64);
        self.word(value as u64);
    }

    fn call(&mut self, call: &ActionCall) {
        self.word(call.action.0.into());
        self.word(call.params.len() as u64);
        for &(id, value) in &call.params {
            self.word(id.0.into());
            self.value(value);
        }
    }
}
