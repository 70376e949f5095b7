//! Election ids: a counter that the store has before any switch sees it, so that no id is ever used twice.

use std::sync::{Arc, Mutex, PoisonError};

use weft_proto::vocab::ElectionId;

use crate::store::{Compare, Op, Store, StoreError, Txn, TxnOutcome};

const KEY: &str = "/controller/election";

/// Hands out election ids.
#[derive(Debug)]
pub(crate) struct Elections {
    store: Arc<dyn Store>,
    current: Mutex<ElectionId>,
}

impl Elections {
    /// Takes the next id for this process.
    pub(crate) async fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let current = Mutex::new(advance(&*store, ElectionId(0)).await?);
        Ok(Self { store, current })
    }

    /// The newest id.
    pub(crate) fn current(&self) -> ElectionId {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An id above `highest`: the current one, or a new one.
    pub(crate) async fn above(&self, highest: ElectionId) -> Result<ElectionId, StoreError> {
        let current = self.current();
        if current > highest {
            return Ok(current);
        }
        let next = advance(&*self.store, highest).await?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = next.max(*current);
        Ok(next)
    }
}

/// Raises the stored counter above itself and above `floor`.
async fn advance(store: &dyn Store, floor: ElectionId) -> Result<ElectionId, StoreError> {
    loop {
        let record = store.get(KEY).await?;
        let stored = record
            .as_ref()
            .and_then(|record| std::str::from_utf8(&record.value).ok()?.parse().ok())
            .unwrap_or(0_u128);
        let next = stored.max(floor.0).saturating_add(1);
        let key = KEY.to_owned();
        let compare = match record {
            Some(record) => Compare::Unchanged {
                key: key.clone(),
                modified: record.modified,
            },
            None => Compare::Absent { key: key.clone() },
        };
        let put = Op::Put {
            key,
            value: next.to_string().into(),
            lease: None,
        };
        match store
            .txn(Txn {
                compare: vec![compare],
                ops: vec![put],
            })
            .await?
        {
            TxnOutcome::Committed { .. } => return Ok(ElectionId(next)),
            TxnOutcome::Conflict { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn ids_grow_over_restarts_and_over_foreign_ids() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let first = Elections::open(Arc::clone(&store)).await.unwrap();
        assert_eq!(first.current(), ElectionId(1));
        let second = Elections::open(Arc::clone(&store)).await.unwrap();
        assert_eq!(second.current(), ElectionId(2));
        assert_eq!(second.above(ElectionId(1)).await.unwrap(), ElectionId(2));
        assert_eq!(
            second.above(ElectionId(1 << 70)).await.unwrap(),
            ElectionId((1 << 70) + 1)
        );
        let third = Elections::open(store).await.unwrap();
        assert_eq!(third.current(), ElectionId((1 << 70) + 2));
    }
}
