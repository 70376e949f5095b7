//! A store in one SQLite file: a log of writes keyed by revision, and an index of what is current.
//!
//! One connection writes, with a full sync for each transaction; others read beside it (write-ahead log). A watch reads
//! the log from where it is and sleeps until the next commit, so it holds nothing in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{
    Change, Compare, LeaseId, ListQuery, Listing, MAX_KEY, Op, Record, Revision, Store, StoreError,
    Txn, TxnOutcome, Watch, check_txn, sleep_until,
};

/// Connections that read.
const READERS: u32 = 2;
/// Changes that a watcher reads at once.
const CHUNK: i64 = 256;

/// A [`Store`] in a file. Clones share it. It belongs to one process at a time.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    writer: SqlitePool,
    readers: SqlitePool,
    newest: watch::Sender<Revision>,
    leases: Mutex<BTreeMap<LeaseId, Lease>>,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    ttl: Duration,
    deadline: Instant,
}

/// A row of the log: revision, key, value, revision of creation, lease.
type Row = (i64, String, Option<Vec<u8>>, i64, Option<i64>);

impl SqliteStore {
    /// Opens a file, or makes it. Leases begin again with their whole time.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or is of a later version.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .test_before_acquire(false)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        sqlx::migrate!("src/store/migrations")
            .run(&writer)
            .await
            .map_err(backend)?;
        let readers = pool(READERS).connect_lazy_with(options);
        let (newest,): (i64,) = sqlx::query_as("SELECT value FROM counter WHERE name = 'newest'")
            .fetch_one(&writer)
            .await?;
        let rows: Vec<(i64, i64)> = sqlx::query_as("SELECT id, ttl_ms FROM lease")
            .fetch_all(&writer)
            .await?;
        let now = Instant::now();
        let lease = |(id, ttl_ms): (i64, i64)| {
            let ttl = Duration::from_millis(unsigned(ttl_ms));
            (
                LeaseId(unsigned(id)),
                Lease {
                    ttl,
                    deadline: now + ttl,
                },
            )
        };
        let leases = Mutex::new(rows.into_iter().map(lease).collect());
        let newest = watch::Sender::new(Revision(unsigned(newest)));
        Ok(Self {
            shared: Arc::new(Shared {
                writer,
                readers,
                newest,
                leases,
            }),
        })
    }

    /// Closes the file after everything that was begun.
    pub async fn close(&self) {
        self.shared.readers.close().await;
        self.shared.writer.close().await;
    }
}

impl Shared {
    fn leases(&self) -> MutexGuard<'_, BTreeMap<LeaseId, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.leases().values().map(|lease| lease.deadline).min()
    }

    /// Deletes the records of leases that ran out.
    async fn expire(&self) -> Result<(), StoreError> {
        let now = Instant::now();
        let dead: Vec<LeaseId> = self
            .leases()
            .iter()
            .filter(|(_, lease)| lease.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in dead {
            let mut txn = self.writer.begin_with("BEGIN IMMEDIATE").await?;
            let keys: Vec<(String,)> = sqlx::query_as(
                "SELECT log.key FROM log JOIN current ON current.key = log.key AND current.revision = log.revision \
                 WHERE log.lease = ?",
            )
            .bind(signed(id.0))
            .fetch_all(&mut *txn)
            .await?;
            sqlx::query("DELETE FROM lease WHERE id = ?")
                .bind(signed(id.0))
                .execute(&mut *txn)
                .await?;
            let revision = apply(
                &mut txn,
                keys.into_iter().map(|(key,)| Op::Delete { key }).collect(),
            )
            .await?;
            txn.commit().await?;
            self.leases().remove(&id);
            self.newest.send_replace(revision);
        }
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        self.expire().await?;
        current(&mut *self.readers.acquire().await?, key).await
    }

    async fn list(&self, query: ListQuery) -> Result<Listing, StoreError> {
        self.expire().await?;
        // One transaction, so that revision and records are of one moment.
        let mut txn = self.readers.begin().await?;
        let revision = match query.at {
            Some(at) => {
                check_revision(&mut txn, at).await?;
                at
            }
            None => Revision(counter(&mut txn, "newest").await?),
        };
        let limit = query.limit.map_or(-1, |limit| {
            i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
        });
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT l.revision, l.key, l.value, l.created, l.lease FROM log AS l \
             WHERE l.key >= ?1 AND l.key < ?2 AND l.key > ?3 AND l.value IS NOT NULL \
             AND l.revision = (SELECT max(m.revision) FROM log AS m WHERE m.key = l.key AND m.revision <= ?4) \
             ORDER BY l.key LIMIT ?5",
        )
        .bind(&query.prefix)
        .bind(format!("{}{MAX_KEY}", query.prefix))
        .bind(query.after.unwrap_or_default())
        .bind(signed(revision.0))
        .bind(limit)
        .fetch_all(&mut *txn)
        .await?;
        let mut records: Vec<Record> = rows
            .into_iter()
            .filter_map(|row| change(row).record)
            .collect();
        let more = query.limit.is_some_and(|limit| records.len() > limit);
        records.truncate(query.limit.unwrap_or(usize::MAX));
        Ok(Listing {
            revision,
            records,
            more,
        })
    }

    async fn commit(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        check_txn(&txn)?;
        self.expire().await?;
        let mut work = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        for compare in &txn.compare {
            let current = current(&mut work, compare.key()).await?;
            let holds = match compare {
                Compare::Absent { .. } => current.is_none(),
                Compare::Unchanged { modified, .. } => current
                    .as_ref()
                    .is_some_and(|record| record.modified == *modified),
            };
            if !holds {
                return Ok(TxnOutcome::Conflict {
                    key: compare.key().to_owned(),
                    current,
                });
            }
        }
        for op in &txn.ops {
            if let Op::Put {
                lease: Some(id), ..
            } = op
                && !self.leases().contains_key(id)
            {
                return Err(StoreError::NoLease { id: *id });
            }
        }
        let revision = apply(&mut work, txn.ops).await?;
        work.commit().await?;
        self.newest.send_replace(revision);
        Ok(TxnOutcome::Committed { revision })
    }

    async fn changes(
        &self,
        prefix: &str,
        after: &(Revision, String),
    ) -> Result<Vec<Change>, StoreError> {
        let mut txn = self.readers.begin().await?;
        let oldest = Revision(counter(&mut txn, "oldest").await?);
        if after.0 < oldest {
            return Err(StoreError::Compacted { oldest });
        }
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT revision, key, value, created, lease FROM log \
             WHERE (revision, key) > (?1, ?2) AND key >= ?3 AND key < ?4 ORDER BY revision, key LIMIT ?5",
        )
        .bind(signed(after.0.0))
        .bind(&after.1)
        .bind(prefix)
        .bind(format!("{prefix}{MAX_KEY}"))
        .bind(CHUNK)
        .fetch_all(&mut *txn)
        .await?;
        Ok(rows.into_iter().map(change).collect())
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        let mut txn = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let id = counter(&mut txn, "lease").await? + 1;
        set_counter(&mut txn, "lease", id).await?;
        sqlx::query("INSERT INTO lease VALUES (?, ?)")
            .bind(signed(id))
            .bind(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
            .execute(&mut *txn)
            .await?;
        txn.commit().await?;
        let id = LeaseId(id);
        self.leases().insert(
            id,
            Lease {
                ttl,
                deadline: Instant::now() + ttl,
            },
        );
        // Watchers sleep until the nearest deadline, which may be this one.
        self.newest.send_modify(|_| {});
        Ok(id)
    }

    async fn keepalive(&self, id: LeaseId) -> Result<(), StoreError> {
        self.expire().await?;
        let mut leases = self.leases();
        let lease = leases.get_mut(&id).ok_or(StoreError::NoLease { id })?;
        lease.deadline = Instant::now() + lease.ttl;
        Ok(())
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let mut txn = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let oldest = counter(&mut txn, "oldest").await?;
        if revision.0 <= oldest {
            return Ok(());
        }
        check_revision(&mut txn, revision).await?;
        // What was overwritten or deleted up to here; a later listing needs each key's newest value.
        sqlx::query(
            "DELETE FROM log WHERE revision <= ?1 AND (value IS NULL OR revision < \
             (SELECT max(m.revision) FROM log AS m WHERE m.key = log.key AND m.revision <= ?1))",
        )
        .bind(signed(revision.0))
        .execute(&mut *txn)
        .await?;
        set_counter(&mut txn, "oldest", revision.0).await?;
        txn.commit().await?;
        Ok(())
    }
}

/// Writes at the next revision; returns the store's revision after it.
async fn apply(txn: &mut Transaction<'_, Sqlite>, ops: Vec<Op>) -> Result<Revision, StoreError> {
    let newest = counter(txn, "newest").await?;
    let revision = newest + 1;
    let mut changed = false;
    for op in ops {
        let old: Option<(i64,)> = sqlx::query_as(
            "SELECT log.created FROM current JOIN log ON log.key = current.key AND log.revision = current.revision \
             WHERE current.key = ?",
        )
        .bind(op.key())
        .fetch_optional(&mut **txn)
        .await?;
        let (key, value, lease) = match op {
            Op::Put { key, value, lease } => (key, Some(value), lease),
            Op::Delete { .. } if old.is_none() => continue,
            Op::Delete { key } => (key, None, None),
        };
        changed = true;
        let statement = match &value {
            Some(_) => "INSERT OR REPLACE INTO current VALUES (?1, ?2)",
            None => "DELETE FROM current WHERE key = ?1",
        };
        let mut query = sqlx::query(statement).bind(&key);
        if value.is_some() {
            query = query.bind(signed(revision));
        }
        query.execute(&mut **txn).await?;
        sqlx::query("INSERT INTO log VALUES (?, ?, ?, ?, ?)")
            .bind(signed(revision))
            .bind(&key)
            .bind(value.as_deref())
            .bind(old.map_or_else(|| signed(revision), |(created,)| created))
            .bind(lease.map(|id| signed(id.0)))
            .execute(&mut **txn)
            .await?;
    }
    if !changed {
        return Ok(Revision(newest));
    }
    set_counter(txn, "newest", revision).await?;
    Ok(Revision(revision))
}

async fn current(
    connection: &mut SqliteConnection,
    key: &str,
) -> Result<Option<Record>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT log.revision, log.key, log.value, log.created, log.lease FROM current \
         JOIN log ON log.key = current.key AND log.revision = current.revision WHERE current.key = ?",
    )
    .bind(key)
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(|row| change(row).record))
}

async fn counter(connection: &mut SqliteConnection, name: &str) -> Result<u64, StoreError> {
    let (value,): (i64,) = sqlx::query_as("SELECT value FROM counter WHERE name = ?")
        .bind(name)
        .fetch_one(connection)
        .await?;
    Ok(unsigned(value))
}

async fn set_counter(
    connection: &mut SqliteConnection,
    name: &str,
    value: u64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE counter SET value = ? WHERE name = ?")
        .bind(signed(value))
        .bind(name)
        .execute(connection)
        .await?;
    Ok(())
}

async fn check_revision(
    connection: &mut SqliteConnection,
    asked: Revision,
) -> Result<(), StoreError> {
    let oldest = Revision(counter(connection, "oldest").await?);
    let newest = Revision(counter(connection, "newest").await?);
    if asked < oldest {
        return Err(StoreError::Compacted { oldest });
    }
    if asked > newest {
        return Err(StoreError::Future { asked, newest });
    }
    Ok(())
}

fn change((revision, key, value, created, lease): Row) -> Change {
    let revision = Revision(unsigned(revision));
    let record = value.map(|value| Record {
        key: key.clone(),
        value: Bytes::from(value),
        created: Revision(unsigned(created)),
        modified: revision,
        lease: lease.map(|id| LeaseId(unsigned(id))),
    });
    Change {
        revision,
        key,
        record,
    }
}

/// SQLite's integers are signed; ours count from 0.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn backend(error: impl std::fmt::Display) -> StoreError {
    StoreError::Backend {
        detail: error.to_string(),
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        backend(error)
    }
}

/// What a watcher carries from one step to the next.
struct Watcher {
    shared: Arc<Shared>,
    newest: watch::Receiver<Revision>,
    prefix: String,
    after: (Revision, String),
    /// Read and not yet returned, the next one last.
    chunk: Vec<Change>,
    failed: bool,
}

impl Watcher {
    async fn next(&mut self) -> Result<Change, StoreError> {
        loop {
            if let Some(change) = self.chunk.pop() {
                return Ok(change);
            }
            self.shared.expire().await?;
            let newest = *self.newest.borrow_and_update();
            self.chunk = self.shared.changes(&self.prefix, &self.after).await?;
            if let Some(last) = self.chunk.last() {
                self.after = (last.revision, last.key.clone());
                self.chunk.reverse();
                continue;
            }
            // Nothing under the prefix so far: history up to here is not needed any more.
            if newest > self.after.0 {
                self.after = (newest, MAX_KEY.to_owned());
            }
            tokio::select! {
                biased;
                changed = self.newest.changed() => changed.map_err(backend)?,
                () = sleep_until(self.shared.next_deadline()) => {}
            }
        }
    }
}

impl Store for SqliteStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        Box::pin(self.shared.get(key))
    }

    fn list(&self, query: ListQuery) -> BoxFuture<'_, Result<Listing, StoreError>> {
        Box::pin(self.shared.list(query))
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, StoreError>> {
        Box::pin(self.shared.commit(txn))
    }

    fn watch(&self, prefix: String, after: Revision) -> BoxFuture<'_, Result<Watch, StoreError>> {
        Box::pin(async move {
            check_revision(&mut *self.shared.readers.acquire().await?, after).await?;
            let watcher = Watcher {
                shared: Arc::clone(&self.shared),
                newest: self.shared.newest.subscribe(),
                prefix,
                after: (after, MAX_KEY.to_owned()),
                chunk: Vec::new(),
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
        Box::pin(self.shared.grant(ttl))
    }

    fn keepalive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.shared.keepalive(lease))
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.shared.compact(revision))
    }
}
