//! What users declared, kept with revisions.
//!
//! A [`Store`] is a map from keys to small documents with one history. Each committed transaction is one
//! [`Revision`], whatever it changed; that number is ETag, event id and resync epoch at once. The interface is
//! exactly what a single file, a table in memory and a consensus store can all give.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

pub mod memory;
pub mod sqlite;
#[cfg(test)]
mod tests;

pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

/// The largest value, in bytes.
pub const MAX_VALUE_SIZE: usize = 256 * 1024;

/// A point in the store's history, printed as `r42`. 0 is the empty store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// A text that is not a revision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a revision, for example r42")]
pub struct RevisionError {
    text: String,
}

impl FromStr for Revision {
    type Err = RevisionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix('r')
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| RevisionError {
                text: text.to_owned(),
            })
    }
}

impl serde::Serialize for Revision {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A promise to keep records alive; they are deleted when it is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// One key with its newest value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// The revision that made the key.
    pub created: Revision,
    /// The revision that wrote this value.
    pub modified: Revision,
    /// The lease that the record lives by.
    pub lease: Option<LeaseId>,
}

/// What [`Store::list`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The revision that the listing shows.
    pub revision: Revision,
    /// Ordered by key.
    pub records: Vec<Record>,
    /// More records follow the last one.
    pub more: bool,
}

/// Which records [`Store::list`] returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Keys that begin with this.
    pub prefix: String,
    /// As of this revision; `None` is now.
    pub at: Option<Revision>,
    /// Keys after this one.
    pub after: Option<String>,
    /// At most so many; `None` is all.
    pub limit: Option<usize>,
}

impl ListQuery {
    /// All records under `prefix`, now.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            ..Self::default()
        }
    }
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent {
        /// The key.
        key: String,
    },
    /// The key exists and was last written at `modified`.
    Unchanged {
        /// The key.
        key: String,
        /// Its [`Record::modified`].
        modified: Revision,
    },
}

impl Compare {
    /// The key that is compared.
    pub fn key(&self) -> &str {
        match self {
            Self::Absent { key } | Self::Unchanged { key, .. } => key,
        }
    }
}

/// A write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a value.
    Put {
        /// The key.
        key: String,
        /// The value, at most [`MAX_VALUE_SIZE`].
        value: Bytes,
        /// The lease that the record shall live by.
        lease: Option<LeaseId>,
    },
    /// Removes a key; one that does not exist is fine.
    Delete {
        /// The key.
        key: String,
    },
}

impl Op {
    /// The key that is written.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Writes that happen together, if every condition holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// Conditions.
    pub compare: Vec<Compare>,
    /// Writes; at most one for each key.
    pub ops: Vec<Op>,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// Done. The revision is new, unless no write changed anything (deletes of absent keys only).
    Committed {
        /// The store's revision after the transaction.
        revision: Revision,
    },
    /// A condition failed; nothing was written.
    Conflict {
        /// The key of the first condition that failed.
        key: String,
        /// What the key holds.
        current: Option<Record>,
    },
}

/// One key's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision that made it.
    pub revision: Revision,
    /// The key.
    pub key: String,
    /// What the key holds since then; `None`: deleted.
    pub record: Option<Record>,
}

/// Changes in order; ends with an error when history is gone or the store failed.
pub type Watch = BoxStream<'static, Result<Change, StoreError>>;

/// Why a store operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// History before `oldest` was compacted.
    #[error("history before {oldest} is gone")]
    Compacted {
        /// The oldest revision that can be asked for.
        oldest: Revision,
    },
    /// The revision has not happened.
    #[error("revision {asked} is in the future of {newest}")]
    Future {
        /// What was asked for.
        asked: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// A value is too large.
    #[error("value of {key} has {size} bytes, at most {MAX_VALUE_SIZE} fit")]
    TooLarge {
        /// The key.
        key: String,
        /// The size of the value.
        size: usize,
    },
    /// Two writes of one transaction name the same key.
    #[error("transaction writes {key} twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// The lease does not exist, or has run out.
    #[error("no lease {}", id.0)]
    NoLease {
        /// The lease.
        id: LeaseId,
    },
    /// The storage below failed; whether a write happened is not known.
    #[error("store failed: {detail}")]
    Backend {
        /// What it said.
        detail: String,
    },
}

/// A map with revisions, transactions and history.
///
/// Time for leases is tokio's, so that a paused runtime decides when they run out.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// The newest value of `key`.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>>;

    /// Records by prefix, now or at an earlier revision.
    fn list(&self, query: ListQuery) -> BoxFuture<'_, Result<Listing, StoreError>>;

    /// Compares, then writes, atomically and durably.
    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, StoreError>>;

    /// Changes under `prefix` that came after revision `after`, then those that will come, without gap or repeat.
    fn watch(&self, prefix: String, after: Revision) -> BoxFuture<'_, Result<Watch, StoreError>>;

    /// Grants a lease that runs out `ttl` after the last [`Self::keepalive`].
    fn lease(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>>;

    /// Renews a lease.
    fn keepalive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Forgets history before `revision`; what is current stays.
    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Checks what every store refuses the same way.
pub(crate) fn check_txn(txn: &Txn) -> Result<(), StoreError> {
    let mut keys = BTreeMap::new();
    for op in &txn.ops {
        if keys.insert(op.key(), ()).is_some() {
            return Err(StoreError::DuplicateKey {
                key: op.key().to_owned(),
            });
        }
        if let Op::Put { key, value, .. } = op
            && value.len() > MAX_VALUE_SIZE
        {
            return Err(StoreError::TooLarge {
                key: key.clone(),
                size: value.len(),
            });
        }
    }
    Ok(())
}

/// No key sorts after this one.
pub(crate) const MAX_KEY: &str = "\u{10ffff}";

/// Sleeps until `deadline`; for ever without one.
pub(crate) async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
