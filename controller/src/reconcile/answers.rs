//! What the switch said to a batch: committed, refused, or not what was expected.
//!
//! A refused entry is put aside with its reason and holds nothing else back. It is tried again a few times by itself,
//! when it changes, and, if there was no room, when room was made.

use std::collections::BTreeSet;
use std::time::Duration;

use weft_proto::vocab::{EntryKey, TableEntry};

use super::{Answer, MAX_ATTEMPTS, MAX_DOUBTS, Reconciler, Refused};
use crate::compile::{Change, Entry, MeterKey, Subject, Update};
use crate::status::Rejection;

impl Reconciler {
    /// Takes in the answers to a batch, in order. Returns how many updates were refused.
    pub(crate) fn handle_answers(&mut self, batch: Vec<Update>, answers: Vec<Answer>) -> u64 {
        let mut refused = 0;
        let mut freed = BTreeSet::new();
        for (update, answer) in batch.into_iter().zip(answers) {
            match answer {
                Answer::Done => {
                    if let (Change::Delete, Subject::Entry(entry)) =
                        (update.change, &update.subject)
                    {
                        freed.insert(entry.key.table);
                    }
                    self.commit(update);
                }
                Answer::Aborted => self.mark_subject(&update.subject),
                Answer::Surprised { .. } if update.change == Change::Delete => self.commit(update),
                // What surprises even after a fresh read is a refusal.
                Answer::Surprised { .. } if self.doubts < MAX_DOUBTS => self.doubtful = true,
                Answer::Surprised { code, detail } => {
                    self.refuse(&update, code, detail);
                    refused += 1;
                }
                Answer::Refused { code, detail } => {
                    self.refuse(&update, code, detail);
                    refused += 1;
                }
            }
        }
        self.doubts += u32::from(self.doubtful);
        if !freed.is_empty() {
            self.retry(|key, refused| {
                refused.rejection.code == "RESOURCE_EXHAUSTED" && freed.contains(&key.table)
            });
        }
        refused
    }

    /// After this delay [`Self::handle_retry`] has something to do.
    pub(crate) fn retry_delay(&self) -> Option<Duration> {
        let attempts = self
            .rejected
            .values()
            .filter(|refused| refused.waiting)
            .map(|r| r.rejection.attempts)
            .min()?;
        Some(Duration::from_secs(1 << attempts.min(6)))
    }

    /// The delay has passed.
    pub(crate) fn handle_retry(&mut self) {
        self.retry(|_, refused| refused.waiting);
    }

    fn commit(&mut self, Update { change, subject }: Update) {
        let Some(observed) = &mut self.observed else {
            return;
        };
        match (subject, change) {
            (Subject::Group(group), Change::Delete) => {
                observed.groups.remove(&group.id);
            }
            (Subject::Group(group), _) => {
                observed.groups.insert(group.id, group);
            }
            (Subject::Meter(cell), _) => {
                let key = MeterKey::from(&cell);
                self.rejected_meters.remove(&key);
                match cell.config {
                    Some(config) => observed.meters.insert(key, config),
                    None => observed.meters.remove(&key),
                };
            }
            (Subject::Entry(entry), Change::Delete) => {
                observed.entries.remove(&entry.key);
                self.rejected.remove(&entry.key);
                let used = self.used.entry(entry.key.table).or_default();
                *used = used.saturating_sub(1);
            }
            (Subject::Entry(entry), _) if entry.is_default => {
                observed.defaults.remove(&entry.key.table);
                let _ = observed.insert(entry);
            }
            (Subject::Entry(entry), _) => {
                if let TableEntry {
                    key,
                    action: Some(action),
                    metadata,
                    idle_timeout_ns,
                    ..
                } = entry
                {
                    self.rejected.remove(&key);
                    *self.used.entry(key.table).or_default() += u64::from(change == Change::Insert);
                    observed.entries.insert(
                        key,
                        Entry {
                            action,
                            metadata,
                            idle_timeout_ns,
                        },
                    );
                }
            }
        }
    }

    /// Puts what was refused aside.
    fn refuse(&mut self, update: &Update, code: &'static str, detail: String) {
        match &update.subject {
            Subject::Meter(cell) => {
                let key = MeterKey::from(cell);
                let known = self.rejected_meters.get(&key);
                let attempts = known.map_or(0, |old| old.attempts) + 1;
                let rejection = Rejection {
                    code,
                    detail,
                    attempts,
                };
                self.rejected_meters.insert(key, rejection);
            }
            Subject::Group(group) => {
                let attempts = self
                    .rejected_groups
                    .get(&group.id)
                    .map_or(0, |old| old.attempts)
                    + 1;
                self.rejected_groups.insert(
                    group.id,
                    Rejection {
                        code,
                        detail,
                        attempts,
                    },
                );
            }
            Subject::Entry(entry) => {
                let attempts = self
                    .rejected
                    .get(&entry.key)
                    .map_or(0, |old| old.rejection.attempts)
                    + 1;
                let rejection = Rejection {
                    code,
                    detail,
                    attempts,
                };
                let refused = Refused {
                    rejection,
                    waiting: attempts < MAX_ATTEMPTS,
                };
                self.rejected.insert(entry.key.clone(), refused);
            }
        }
    }

    fn retry(&mut self, which: impl Fn(&EntryKey, &Refused) -> bool) {
        for (key, refused) in &mut self.rejected {
            if which(key, refused) {
                refused.waiting = false;
                let marks = if self.desired.entries.contains_key(key) {
                    &mut self.marks.writes
                } else {
                    &mut self.marks.deletes
                };
                marks.insert(key.clone());
            }
        }
    }
}
