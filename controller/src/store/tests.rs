//! What every store must do, run over each of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use super::*;

/// The same test for each store.
macro_rules! suite {
    ($($(#[$doc:meta])* $name:ident)*) => {
        mod memory_store {
            $(#[tokio::test]
            async fn $name() {
                super::$name(std::sync::Arc::new(super::MemoryStore::new())).await;
            })*
        }
        mod sqlite_store {
            $(#[tokio::test]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                let store = super::SqliteStore::open(dir.path().join("store.sqlite")).await.unwrap();
                super::$name(std::sync::Arc::new(store.clone())).await;
                store.close().await;
            })*
        }
    };
}

suite! {
    each_transaction_is_one_revision
    conditions_guard_writes
    a_transaction_is_all_or_nothing
    listings_show_earlier_revisions
    listings_have_pages
    watches_replay_and_follow_without_gap_or_repeat
    many_writers_lose_no_update
    compaction_forgets_history_and_keeps_what_is_current
    leases_take_their_records_with_them
    wrong_transactions_are_refused
}

fn put(key: &str, value: &str) -> Op {
    Op::Put {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
        lease: None,
    }
}

fn delete(key: &str) -> Op {
    Op::Delete {
        key: key.to_owned(),
    }
}

async fn write(store: &Arc<dyn Store>, ops: Vec<Op>) -> Revision {
    match store
        .txn(Txn {
            compare: vec![],
            ops,
        })
        .await
        .unwrap()
    {
        TxnOutcome::Committed { revision } => revision,
        TxnOutcome::Conflict { key, .. } => panic!("conflict on {key}"),
    }
}

async fn read(store: &Arc<dyn Store>, key: &str) -> Option<String> {
    let record = store.get(key).await.unwrap()?;
    Some(String::from_utf8(record.value.to_vec()).unwrap())
}

async fn keys(store: &Arc<dyn Store>, query: ListQuery) -> Vec<String> {
    store
        .list(query)
        .await
        .unwrap()
        .records
        .into_iter()
        .map(|record| record.key)
        .collect()
}

async fn each_transaction_is_one_revision(store: Arc<dyn Store>) {
    assert_eq!(
        store.list(ListQuery::default()).await.unwrap().revision,
        Revision(0)
    );
    assert_eq!(
        write(&store, vec![put("/a", "1"), put("/b", "1")]).await,
        Revision(1)
    );
    assert_eq!(write(&store, vec![put("/a", "2")]).await, Revision(2));
    let a = store.get("/a").await.unwrap().unwrap();
    assert_eq!(
        (a.created, a.modified, &a.value[..]),
        (Revision(1), Revision(2), &b"2"[..])
    );
    assert_eq!(write(&store, vec![delete("/a")]).await, Revision(3));
    assert_eq!(read(&store, "/a").await, None);
    // Nothing changes: no revision.
    assert_eq!(write(&store, vec![delete("/a")]).await, Revision(3));
    write(&store, vec![put("/a", "3")]).await;
    assert_eq!(store.get("/a").await.unwrap().unwrap().created, Revision(4));
}

async fn conditions_guard_writes(store: Arc<dyn Store>) {
    let absent = || {
        vec![Compare::Absent {
            key: "/a".to_owned(),
        }]
    };
    let at = |modified| {
        vec![Compare::Unchanged {
            key: "/a".to_owned(),
            modified,
        }]
    };
    let mut current = None;
    for (compare, value, expect) in [
        (at(Revision(0)), "no", false),
        (absent(), "first", true),
        (absent(), "no", false),
        (at(Revision(9)), "no", false),
        (at(Revision(1)), "second", true),
        (at(Revision(1)), "no", false),
    ] {
        match store
            .txn(Txn {
                compare,
                ops: vec![put("/a", value)],
            })
            .await
            .unwrap()
        {
            TxnOutcome::Committed { .. } => {
                assert!(expect, "{value}");
                current = Some(value.to_owned());
            }
            TxnOutcome::Conflict {
                key,
                current: found,
            } => {
                assert!(!expect, "{value}");
                assert_eq!(key, "/a");
                assert_eq!(
                    found.map(|record| String::from_utf8(record.value.to_vec()).unwrap()),
                    current
                );
            }
        }
        assert_eq!(read(&store, "/a").await, current);
    }
}

async fn a_transaction_is_all_or_nothing(store: Arc<dyn Store>) {
    write(&store, vec![put("/a", "1")]).await;
    let compare = vec![
        Compare::Absent {
            key: "/b".to_owned(),
        },
        Compare::Unchanged {
            key: "/a".to_owned(),
            modified: Revision(7),
        },
    ];
    let outcome = store
        .txn(Txn {
            compare,
            ops: vec![put("/b", "1"), delete("/a")],
        })
        .await
        .unwrap();
    assert!(matches!(outcome, TxnOutcome::Conflict { key, .. } if key == "/a"));
    assert_eq!(keys(&store, ListQuery::default()).await, ["/a"]);
}

async fn listings_show_earlier_revisions(store: Arc<dyn Store>) {
    write(
        &store,
        vec![put("/x/1", "a"), put("/x/2", "a"), put("/y/1", "a")],
    )
    .await;
    write(&store, vec![put("/x/2", "b")]).await;
    write(&store, vec![delete("/x/1"), put("/x/3", "a")]).await;
    let at = |revision| ListQuery {
        at: Some(Revision(revision)),
        ..ListQuery::prefix("/x/")
    };
    assert!(keys(&store, at(0)).await.is_empty());
    assert_eq!(keys(&store, at(1)).await, ["/x/1", "/x/2"]);
    let second = store.list(at(2)).await.unwrap();
    assert_eq!(second.revision, Revision(2));
    assert_eq!(
        (second.records[1].modified, &second.records[1].value[..]),
        (Revision(2), &b"b"[..])
    );
    assert_eq!(keys(&store, at(3)).await, ["/x/2", "/x/3"]);
    assert_eq!(
        keys(&store, ListQuery::prefix("/x/")).await,
        ["/x/2", "/x/3"]
    );
    assert!(matches!(
        store.list(at(4)).await,
        Err(StoreError::Future { .. })
    ));
}

async fn listings_have_pages(store: Arc<dyn Store>) {
    write(
        &store,
        (0..25).map(|n| put(&format!("/k/{n:02}"), "v")).collect(),
    )
    .await;
    write(&store, vec![put("/l", "v")]).await;
    for at in [None, Some(Revision(1))] {
        let mut all = Vec::new();
        let mut query = ListQuery {
            at,
            limit: Some(10),
            ..ListQuery::prefix("/k/")
        };
        loop {
            let page = store.list(query.clone()).await.unwrap();
            all.extend(page.records.iter().map(|record| record.key.clone()));
            if !page.more {
                break;
            }
            assert_eq!(page.records.len(), 10);
            query.after = all.last().cloned();
        }
        assert_eq!(
            all,
            (0..25).map(|n| format!("/k/{n:02}")).collect::<Vec<_>>()
        );
    }
}

async fn watches_replay_and_follow_without_gap_or_repeat(store: Arc<dyn Store>) {
    for n in 0..600 {
        write(
            &store,
            vec![put(&format!("/w/{}", n % 7), "v"), put("/other", "v")],
        )
        .await;
    }
    let mut watch = store.watch("/w/".to_owned(), Revision(100)).await.unwrap();
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 600..700 {
                write(
                    &store,
                    vec![put("/w/late", "v"), delete("/w/0"), put("/other", "v")],
                )
                .await;
            }
        })
    };
    let mut seen = Vec::new();
    while seen.len() < 500 + 100 + 1 {
        let change = watch.next().await.unwrap().unwrap();
        seen.push((change.revision.0, change.key, change.record.is_some()));
    }
    writer.await.unwrap();
    let early = (101..=600).map(|n| (n, format!("/w/{}", (n - 1) % 7), true));
    let late = (601..=700).flat_map(|n| {
        let deleted = (n == 601).then(|| (n, "/w/0".to_owned(), false));
        deleted.into_iter().chain([(n, "/w/late".to_owned(), true)])
    });
    assert_eq!(seen, early.chain(late).collect::<Vec<_>>());
}

async fn many_writers_lose_no_update(store: Arc<dyn Store>) {
    write(&store, vec![put("/count", "0")]).await;
    let add = |store: Arc<dyn Store>| async move {
        for _ in 0..20 {
            loop {
                let record = store.get("/count").await.unwrap().unwrap();
                let count: u32 = std::str::from_utf8(&record.value).unwrap().parse().unwrap();
                let compare = vec![Compare::Unchanged {
                    key: "/count".to_owned(),
                    modified: record.modified,
                }];
                let ops = vec![put("/count", &(count + 1).to_string())];
                if let TxnOutcome::Committed { .. } = store.txn(Txn { compare, ops }).await.unwrap()
                {
                    break;
                }
            }
        }
    };
    let writers: Vec<_> = (0..5)
        .map(|_| tokio::spawn(add(Arc::clone(&store))))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(read(&store, "/count").await.as_deref(), Some("100"));
    assert_eq!(
        store.list(ListQuery::default()).await.unwrap().revision,
        Revision(101)
    );
}

async fn compaction_forgets_history_and_keeps_what_is_current(store: Arc<dyn Store>) {
    write(&store, vec![put("/a", "1"), put("/b", "1")]).await;
    write(&store, vec![put("/a", "2")]).await;
    write(&store, vec![delete("/b")]).await;
    write(&store, vec![put("/a", "3")]).await;
    let mut old = store.watch(String::new(), Revision(1)).await.unwrap();
    store.compact(Revision(3)).await.unwrap();
    store.compact(Revision(2)).await.unwrap();
    assert!(matches!(
        old.next().await,
        Some(Err(StoreError::Compacted {
            oldest: Revision(3)
        }))
    ));
    assert!(old.next().await.is_none());
    let at = |revision| ListQuery {
        at: Some(Revision(revision)),
        ..ListQuery::default()
    };
    assert!(matches!(
        store.list(at(2)).await,
        Err(StoreError::Compacted { .. })
    ));
    let kept = store.list(at(3)).await.unwrap();
    assert_eq!(kept.records.len(), 1);
    assert_eq!(
        (&kept.records[0].value[..], kept.records[0].created),
        (&b"2"[..], Revision(1))
    );
    assert_eq!(read(&store, "/a").await.as_deref(), Some("3"));
    let mut watch = store.watch(String::new(), Revision(3)).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().revision, Revision(4));
    assert!(matches!(
        store.watch(String::new(), Revision(2)).await,
        Err(StoreError::Compacted { .. })
    ));
    assert!(matches!(
        store.compact(Revision(9)).await,
        Err(StoreError::Future { .. })
    ));
}

async fn leases_take_their_records_with_them(store: Arc<dyn Store>) {
    let lease = store.lease(Duration::from_millis(80)).await.unwrap();
    let kept = store.lease(Duration::from_secs(60)).await.unwrap();
    let put_leased = |key: &str, lease| Op::Put {
        key: key.to_owned(),
        value: Bytes::new(),
        lease: Some(lease),
    };
    write(
        &store,
        vec![
            put_leased("/gone", lease),
            put_leased("/kept", kept),
            put("/plain", ""),
        ],
    )
    .await;
    write(&store, vec![put_leased("/moved", lease)]).await;
    let revision = write(&store, vec![put("/moved", "")]).await;
    let mut watch = store.watch(String::new(), revision).await.unwrap();
    store.keepalive(lease).await.unwrap();
    // The watcher itself notices the end of the lease.
    let change = tokio::time::timeout(Duration::from_secs(10), watch.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!((change.key.as_str(), change.record), ("/gone", None));
    assert_eq!(
        keys(&store, ListQuery::default()).await,
        ["/kept", "/moved", "/plain"]
    );
    assert_eq!(
        store.keepalive(lease).await,
        Err(StoreError::NoLease { id: lease })
    );
    let late = store
        .txn(Txn {
            compare: vec![],
            ops: vec![put_leased("/late", lease)],
        })
        .await;
    assert_eq!(late, Err(StoreError::NoLease { id: lease }));
    store.keepalive(kept).await.unwrap();
}

async fn wrong_transactions_are_refused(store: Arc<dyn Store>) {
    let twice = Txn {
        compare: vec![],
        ops: vec![put("/a", "1"), delete("/a")],
    };
    assert!(matches!(
        store.txn(twice).await,
        Err(StoreError::DuplicateKey { .. })
    ));
    let large = Op::Put {
        key: "/a".to_owned(),
        value: vec![0; MAX_VALUE_SIZE + 1].into(),
        lease: None,
    };
    assert!(matches!(
        store
            .txn(Txn {
                compare: vec![],
                ops: vec![large]
            })
            .await,
        Err(StoreError::TooLarge { .. })
    ));
    assert!(matches!(
        store.watch(String::new(), Revision(1)).await,
        Err(StoreError::Future { .. })
    ));
    assert_eq!(
        store.list(ListQuery::default()).await.unwrap().revision,
        Revision(0)
    );
}

#[tokio::test]
async fn a_file_keeps_everything_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    let store = SqliteStore::open(&path).await.unwrap();
    let lease = store.lease(Duration::from_secs(60)).await.unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    write(&shared, vec![put("/a", "1"), put("/b", "1")]).await;
    write(&shared, vec![put("/a", "2")]).await;
    store.close().await;

    let store = SqliteStore::open(&path).await.unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    assert_eq!(read(&shared, "/a").await.as_deref(), Some("2"));
    let at = ListQuery {
        at: Some(Revision(1)),
        ..ListQuery::default()
    };
    assert_eq!(shared.list(at).await.unwrap().records.len(), 2);
    store.keepalive(lease).await.unwrap();
    assert_ne!(store.lease(Duration::from_secs(1)).await.unwrap(), lease);
    assert_eq!(write(&shared, vec![delete("/b")]).await, Revision(3));
    store.close().await;
}

#[test]
fn revisions_have_one_text_form() {
    assert_eq!(Revision(42).to_string(), "r42");
    assert_eq!("r42".parse(), Ok(Revision(42)));
    for text in [
        "",
        "r",
        "42",
        "r-1",
        "r+1",
        "R1",
        "r1 ",
        "r99999999999999999999",
    ] {
        assert!(text.parse::<Revision>().is_err(), "{text}");
    }
}
