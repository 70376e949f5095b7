//! Entries that nobody hits any more (P4Runtime §9.1.8, §16.4).
//!
//! An entry's time begins when it is written, with each hit, and with each notification. Nothing is done per packet
//! but the note of the hit; whoever asks gets what has expired by then, and when it is worth asking again.

use std::sync::atomic::Ordering::Relaxed;

use weft_proto::vocab::{TableEntry, TableId};

use super::State;
use crate::datapath::Nanos;
use crate::table::Installed;

/// How late an entry may be found expired, as a share of its timeout. So many entries are found by one search, and
/// searches are no more frequent than the shortest timeout makes them.
const LATENESS: u64 = 8;

/// What a search found.
#[derive(Debug, Default)]
pub struct Expired<'a> {
    /// By table, the entries whose time was over; it begins anew.
    pub entries: Vec<(TableId, Vec<&'a TableEntry>)>,
    /// When to search again; `None` where no entry has a timeout.
    pub next: Option<Nanos>,
}

impl State {
    /// Sets the time of the writes that follow.
    pub fn set_time(&mut self, now: Nanos) {
        self.now_ns = now.0;
        self.soonest_ns = u64::MAX;
    }

    /// When to search because of what was written since [`Self::set_time`]; `None` where nothing has a timeout.
    pub fn soonest_timeout(&self) -> Option<Nanos> {
        Some(Nanos(self.soonest_ns)).filter(|&soonest| soonest.0 != u64::MAX)
    }

    /// Whether any entry has a timeout.
    pub fn has_timeouts(&self) -> bool {
        self.tables.iter().any(|table| table.timed > 0)
    }

    /// Finds the entries that nothing has hit for their timeout, and begins their time anew.
    pub fn expire(&self, now: Nanos) -> Expired<'_> {
        let mut expired = Expired::default();
        let mut next = u64::MAX;
        for (table, schema) in self.tables.iter().zip(self.program.schema().tables()) {
            if table.timed == 0 {
                continue;
            }
            let mut entries = Vec::new();
            for found in table.index.iter() {
                let Some(timeout) = timeout(&found.entry) else {
                    continue;
                };
                let mut begun = found.timer_begun();
                if now.0.saturating_sub(begun) >= timeout {
                    found.stats.notified_ns.store(now.0, Relaxed);
                    begun = now.0;
                    entries.push(&found.entry);
                }
                next = next.min(search_at(begun, timeout));
            }
            if !entries.is_empty() {
                entries.sort_by(|a, b| a.key.cmp(&b.key));
                expired.entries.push((schema.id, entries));
            }
        }
        expired.next = Some(Nanos(next)).filter(|_| next != u64::MAX);
        expired
    }

    /// Notes that an entry with this timeout has been written.
    pub(super) fn wrote_timeout(&mut self, entry: &TableEntry) {
        if let Some(timeout) = timeout(entry) {
            let at = search_at(self.now_ns, timeout);
            self.soonest_ns = self.soonest_ns.min(at);
        }
    }
}

impl Installed {
    /// When its time began last.
    fn timer_begun(&self) -> u64 {
        let hit = self.stats.last_hit_ns.load(Relaxed);
        let notified = self.stats.notified_ns.load(Relaxed);
        self.since_ns.max(hit).max(notified)
    }
}

fn search_at(begun: u64, timeout: u64) -> u64 {
    begun
        .saturating_add(timeout)
        .saturating_add(timeout / LATENESS)
}

/// An entry's timeout, if it has one.
pub(super) fn timeout(entry: &TableEntry) -> Option<u64> {
    u64::try_from(entry.idle_timeout_ns)
        .ok()
        .filter(|&timeout| timeout > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weft_proto::vocab::FieldMatch;

    use super::*;
    use crate::packet::Packet;
    use crate::testing::*;

    const MS: u64 = 1_000_000;

    /// A bridge whose entry to port 2 has a timeout.
    fn timed(timeout: i64) -> Bench {
        let mut bench = Bench::with({
            let mut pipeline = router();
            for table in &mut pipeline.tables {
                table.idle_timeout = true;
            }
            pipeline
        });
        let dst = FieldMatch::Exact(mac_bits(HOST_MAC));
        let mut entry = bench.entry("bridge", &[("dst", dst)], 0, "forward", &[2]);
        entry.idle_timeout_ns = timeout;
        bench.datapath.state.set_time(Nanos(100 * MS));
        bench.datapath.state.insert(&entry).unwrap();
        bench
    }

    fn expired(bench: &Bench, at: u64) -> (usize, Option<u64>) {
        let found = bench.datapath.state.expire(Nanos(at));
        let count = found.entries.iter().map(|(_, entries)| entries.len()).sum();
        (count, found.next.map(|next| next.0))
    }

    #[test]
    fn time_begins_with_the_write_with_a_hit_and_with_the_notification() {
        let mut bench = timed(40_000_000);
        let soonest = bench.datapath.state.soonest_timeout();
        assert_eq!(soonest, Some(Nanos(145 * MS)));
        assert_eq!(expired(&bench, 140 * MS - 1), (0, Some(145 * MS)));
        bench.now = Nanos(120 * MS);
        bench.forwarded(1, Packet::from_bytes(&tcp4(HOST_MAC, &[])));
        assert_eq!(expired(&bench, 145 * MS), (0, Some(165 * MS)));
        assert_eq!(expired(&bench, 160 * MS), (1, Some(205 * MS)));
        assert_eq!(expired(&bench, 199 * MS), (0, Some(205 * MS)));
        assert_eq!(expired(&bench, 200 * MS), (1, Some(245 * MS)));
    }

    #[test]
    fn a_modification_begins_anew_and_may_end_it() {
        let mut bench = timed(40_000_000);
        let key = bench.datapath.state.expire(Nanos(300 * MS)).entries[0].1[0].clone();
        let state = &mut bench.datapath.state;
        state.set_time(Nanos(330 * MS));
        let mut longer = key.clone();
        longer.idle_timeout_ns = 80_000_000;
        state.modify(&longer).unwrap();
        assert_eq!(state.soonest_timeout(), Some(Nanos(420 * MS)));
        assert_eq!(expired(&bench, 409 * MS), (0, Some(420 * MS)));
        assert_eq!(expired(&bench, 410 * MS).0, 1);
        let mut never = key.clone();
        never.idle_timeout_ns = 0;
        bench.datapath.state.modify(&never).unwrap();
        assert!(!bench.datapath.state.has_timeouts());
        assert_eq!(expired(&bench, u64::MAX), (0, None));
        bench.datapath.state.modify(&longer).unwrap();
        assert!(bench.datapath.state.has_timeouts());
        bench.datapath.state.delete(&longer).unwrap();
        assert!(!bench.datapath.state.has_timeouts());
    }

    proptest! {
        /// Whoever searches when told to finds every stretch of idleness, late by an eighth at most, and once each.
        #[test]
        fn each_idle_period_is_found_once_and_in_time(
            timeout in 8..50_u64,
            hits in proptest::collection::vec(1..200_u64, 0..20),
        ) {
            let mut bench = timed(i64::try_from(timeout * MS).unwrap());
            let mut now = 100 * MS;
            let mut next = bench.datapath.state.soonest_timeout().unwrap().0;
            for gap in hits {
                let hit = now + gap * MS;
                let mut found = Vec::new();
                while next < hit {
                    let (count, again) = expired(&bench, next);
                    if count > 0 {
                        found.push(next);
                    }
                    next = again.unwrap();
                }
                // What a plain account finds: so many whole timeouts fit into the gap.
                let late = timeout * MS / LATENESS;
                let most = gap / timeout;
                let least = (gap * MS).saturating_sub(1) / (timeout * MS + late);
                prop_assert!((least..=most).contains(&(found.len() as u64)), "{found:?} in {gap} of {timeout}");
                let mut begun = now;
                for at in found {
                    prop_assert!((timeout * MS..=timeout * MS + late).contains(&(at - begun)));
                    begun = at;
                }
                now = hit;
                bench.now = Nanos(now);
                bench.forwarded(1, Packet::from_bytes(&tcp4(HOST_MAC, &[])));
            }
        }
    }
}
