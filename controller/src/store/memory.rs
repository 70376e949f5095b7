//! A store in memory: for tests and virtual time, and the plain form of the rules that [`Store`] promises.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{
    Change, Compare, LeaseId, ListQuery, Listing, MAX_KEY, Op, Record, Revision, Store, StoreError,
    Txn, TxnOutcome, Watch, check_txn, sleep_until,
};

/// A [`Store`] that is gone with the process. Clones share one content.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    newest: watch::Sender<Revision>,
}

#[derive(Debug, Default)]
struct Inner {
    newest: Revision,
    /// The oldest revision that may be listed; changes at or before it are forgotten.
    oldest: Revision,
    current: BTreeMap<String, Record>,
    log: BTreeMap<(Revision, String), Option<Record>>,
    leases: BTreeMap<LeaseId, Lease>,
    last_lease: u64,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    deadline: Instant,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                inner: Mutex::default(),
                newest: watch::Sender::new(Revision::default()),
            }),
        }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Shared {
    /// The content, after leases that ran out took their records with them.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self
            .inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if inner.expire(Instant::now()) {
            self.newest.send_replace(inner.newest);
        }
        inner
    }

    fn commit(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        check_txn(&txn)?;
        let mut inner = self.lock();
        let outcome = inner.commit(txn)?;
        self.newest.send_replace(inner.newest);
        Ok(outcome)
    }
}

impl Inner {
    fn expire(&mut self, now: Instant) -> bool {
        let dead: Vec<LeaseId> = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        if dead.is_empty() {
            return false;
        }
        for id in &dead {
            self.leases.remove(id);
        }
        let keys: Vec<String> = self
            .current
            .values()
            .filter(|record| record.lease.is_some_and(|id| dead.contains(&id)))
            .map(|record| record.key.clone())
            .collect();
        if keys.is_empty() {
            return false;
        }
        self.apply(keys.into_iter().map(|key| Op::Delete { key }).collect());
        true
    }

    fn commit(&mut self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        for compare in &txn.compare {
            let current = self.current.get(compare.key());
            let holds = match compare {
                Compare::Absent { .. } => current.is_none(),
                Compare::Unchanged { modified, .. } => {
                    current.is_some_and(|record| record.modified == *modified)
                }
            };
            if !holds {
                return Ok(TxnOutcome::Conflict {
                    key: compare.key().to_owned(),
                    current: current.cloned(),
                });
            }
        }
        for op in &txn.ops {
            if let Op::Put {
                lease: Some(id), ..
            } = op
                && !self.leases.contains_key(id)
            {
                return Err(StoreError::NoLease { id: *id });
            }
        }
        self.apply(txn.ops);
        Ok(TxnOutcome::Committed {
            revision: self.newest,
        })
    }

    fn apply(&mut self, ops: Vec<Op>) {
        let revision = Revision(self.newest.0 + 1);
        for op in ops {
            match op {
                Op::Put { key, value, lease } => {
                    let created = self
                        .current
                        .get(&key)
                        .map_or(revision, |record| record.created);
                    let record = Record {
                        key: key.clone(),
                        value,
                        created,
                        modified: revision,
                        lease,
                    };
                    self.current.insert(key.clone(), record.clone());
                    self.log.insert((revision, key), Some(record));
                    self.newest = revision;
                }
                Op::Delete { key } => {
                    if self.current.remove(&key).is_some() {
                        self.log.insert((revision, key), None);
                        self.newest = revision;
                    }
                }
            }
        }
    }

    fn check_revision(&self, asked: Revision) -> Result<(), StoreError> {
        if asked < self.oldest {
            return Err(StoreError::Compacted {
                oldest: self.oldest,
            });
        }
        if asked > self.newest {
            return Err(StoreError::Future {
                asked,
                newest: self.newest,
            });
        }
        Ok(())
    }

    fn list(&self, query: ListQuery) -> Result<Listing, StoreError> {
        let revision = query.at.unwrap_or(self.newest);
        self.check_revision(revision)?;
        let from = match &query.after {
            Some(after) if *after >= query.prefix => Bound::Excluded(after.clone()),
            _ => Bound::Included(query.prefix.clone()),
        };
        let limit = query.limit.unwrap_or(usize::MAX);
        let mut records: Vec<Record> = if query.at.is_none() {
            self.current
                .range::<String, _>((from, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(&query.prefix))
                .take(limit.saturating_add(1))
                .map(|(_, record)| record.clone())
                .collect()
        } else {
            let mut at: BTreeMap<&String, &Record> = BTreeMap::new();
            for ((_, key), record) in self.log.range(..=(revision, MAX_KEY.to_owned())) {
                match record {
                    Some(record) => at.insert(key, record),
                    None => at.remove(key),
                };
            }
            at.range::<String, _>((from.as_ref(), Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(&query.prefix))
                .take(limit.saturating_add(1))
                .map(|(_, record)| (*record).clone())
                .collect()
        };
        let more = records.len() > limit;
        records.truncate(limit);
        Ok(Listing {
            revision,
            records,
            more,
        })
    }

    /// Forgets changes up to `revision`, except each key's newest one, which later listings need.
    fn compact(&mut self, revision: Revision) -> Result<(), StoreError> {
        if revision <= self.oldest {
            return Ok(());
        }
        self.check_revision(revision)?;
        let mut newest: BTreeMap<String, Revision> = BTreeMap::new();
        for (at, key) in self
            .log
            .range(..=(revision, MAX_KEY.to_owned()))
            .map(|(position, _)| position)
        {
            newest.insert(key.clone(), *at);
        }
        self.log.retain(|(at, key), record| {
            *at > revision || (newest.get(key) == Some(at) && record.is_some())
        });
        self.oldest = revision;
        Ok(())
    }
}

/// What a watcher carries from one step to the next.
struct Watcher {
    shared: Arc<Shared>,
    newest: watch::Receiver<Revision>,
    prefix: String,
    after: (Revision, String),
    failed: bool,
}

impl Watcher {
    async fn next(&mut self) -> Result<Change, StoreError> {
        loop {
            self.newest.borrow_and_update();
            let deadline = {
                let inner = self.shared.lock();
                if self.after.0 < inner.oldest {
                    return Err(StoreError::Compacted {
                        oldest: inner.oldest,
                    });
                }
                let next = inner
                    .log
                    .range((Bound::Excluded(self.after.clone()), Bound::Unbounded))
                    .find(|((_, key), _)| key.starts_with(&self.prefix));
                if let Some(((revision, key), record)) = next {
                    self.after = (*revision, key.clone());
                    return Ok(Change {
                        revision: *revision,
                        key: key.clone(),
                        record: record.clone(),
                    });
                }
                // Nothing under the prefix so far: history up to here is not needed any more.
                self.after = (inner.newest, MAX_KEY.to_owned());
                inner.leases.values().map(|lease| lease.deadline).min()
            };
            tokio::select! {
                biased;
                changed = self.newest.changed() => {
                    changed.map_err(|_| StoreError::Backend { detail: "closed".to_owned() })?;
                }
                () = sleep_until(deadline) => {}
            }
        }
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        Box::pin(async move { Ok(self.shared.lock().current.get(key).cloned()) })
    }

    fn list(&self, query: ListQuery) -> BoxFuture<'_, Result<Listing, StoreError>> {
        Box::pin(async move { self.shared.lock().list(query) })
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, StoreError>> {
        Box::pin(async move { self.shared.commit(txn) })
    }

    fn watch(&self, prefix: String, after: Revision) -> BoxFuture<'_, Result<Watch, StoreError>> {
        Box::pin(async move {
            self.shared.lock().check_revision(after)?;
            let watcher = Watcher {
                shared: Arc::clone(&self.shared),
                newest: self.shared.newest.subscribe(),
                prefix,
                after: (after, MAX_KEY.to_owned()),
                failed: false,
            };
            let changes = stream::unfold(watcher, |mut watcher| async move {
                if watcher.failed {
                    return None;
                }
                let change = watcher.next().await;
                watcher.failed = change.is_err();
                Some((change, watcher))
            });
            Ok(Box::pin(changes) as Watch)
        })
    }

    fn lease(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>> {
        Box::pin(async move {
            let mut inner = self.shared.lock();
            inner.last_lease += 1;
            let id = LeaseId(inner.last_lease);
            inner.leases.insert(
                id,
                Lease {
                    ttl,
                    deadline: Instant::now() + ttl,
                },
            );
            // Watchers sleep until the nearest deadline, which may be this one.
            self.shared.newest.send_replace(inner.newest);
            Ok(id)
        })
    }

    fn keepalive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut inner = self.shared.lock();
            let held = inner
                .leases
                .get_mut(&lease)
                .ok_or(StoreError::NoLease { id: lease })?;
            held.deadline = Instant::now() + held.ttl;
            Ok(())
        })
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.shared.lock().compact(revision) })
    }
}
