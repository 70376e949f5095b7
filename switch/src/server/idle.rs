//! Tells the primary controller which entries nobody hits (P4Runtime §16.4).
//!
//! A switch of which some entry has a timeout has a task that sleeps until the next one can expire. The task ends
//! with the last timeout, so a switch without any costs nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use weft_proto::codec::encode_entry;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::stream_message_response::Update as Told;

use crate::datapath::Nanos;
use crate::device::Device;
use crate::host::Shared;
use crate::state::State;

/// Shortest time between two searches: shorter timeouts are rounded up to it.
const SEARCH_INTERVAL: Duration = Duration::from_millis(10);
/// Entries of one message, so that it stays below the 4 MiB that clients accept by default.
const CHUNK: usize = 1024;

/// When the entries of a switch are searched next.
#[derive(Debug)]
pub(crate) struct IdleWatch {
    running: AtomicBool,
    next_ns: AtomicU64,
    sooner: Notify,
}

impl Default for IdleWatch {
    fn default() -> Self {
        Self {
            running: AtomicBool::new(false),
            next_ns: AtomicU64::new(u64::MAX),
            sooner: Notify::new(),
        }
    }
}

/// Sees to it that a switch's entries are searched at `at`, or before. The state with the timeout is published.
pub(super) fn watch(shared: &Arc<Shared>, device: &Arc<Device>, at: Nanos) {
    let watch = &device.idle;
    if at.0 < watch.next_ns.fetch_min(at.0, Ordering::SeqCst) {
        watch.sooner.notify_one();
    }
    if !watch.running.swap(true, Ordering::SeqCst) {
        let task = run(Arc::downgrade(shared), Arc::clone(device));
        tokio::spawn(task);
    }
}

async fn run(shared: Weak<Shared>, device: Arc<Device>) {
    let watch = &device.idle;
    loop {
        let Some(wait) = shared.upgrade().map(|shared| until_next(&shared, &device)) else {
            return;
        };
        if let Some(wait) = wait {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = watch.sooner.notified() => {}
            }
            continue;
        }
        // From here on what is written is searched; what was written before the state is taken is seen in it.
        watch.next_ns.store(u64::MAX, Ordering::SeqCst);
        let Some(state) = device.forwarding().committed.map(|loaded| loaded.state) else {
            if ends(&device) {
                return;
            }
            continue;
        };
        let Some(now) = shared.upgrade().map(|shared| shared.now()) else {
            return;
        };
        match search(&device, &state, now) {
            Some(next) => {
                watch.next_ns.fetch_min(next.0, Ordering::SeqCst);
                tokio::time::sleep(SEARCH_INTERVAL).await;
            }
            None if ends(&device) => return,
            None => {}
        }
    }
}

/// How long it is to the next search; `None` when it is due.
fn until_next(shared: &Shared, device: &Device) -> Option<Duration> {
    let next = device.idle.next_ns.load(Ordering::SeqCst);
    let wait = next.saturating_sub(shared.now().0);
    (wait > 0).then(|| Duration::from_nanos(wait))
}

/// Whether the task ends, because nothing has a timeout and nobody has just written one.
fn ends(device: &Device) -> bool {
    let watch = &device.idle;
    watch.running.store(false, Ordering::SeqCst);
    let state = device.forwarding().committed.map(|loaded| loaded.state);
    let needed = state.is_some_and(|state| state.has_timeouts());
    if needed && !watch.running.swap(true, Ordering::SeqCst) {
        watch.next_ns.store(0, Ordering::SeqCst);
        return false;
    }
    true
}

/// Tells of the entries that have expired; returns when to search again.
fn search(device: &Device, state: &State, now: Nanos) -> Option<Nanos> {
    let expired = state.expire(now);
    let schema = state.program().schema();
    for (_, entries) in expired.entries {
        for entries in entries.chunks(CHUNK) {
            let entries = entries.iter().map(|entry| wire::TableEntry {
                action: None,
                ..encode_entry(schema, entry)
            });
            let told = Told::IdleTimeoutNotification(wire::IdleTimeoutNotification {
                table_entry: entries.collect(),
                timestamp: since_epoch(),
            });
            // Where nobody hears it, the next one may: its time begins anew all the same (§16.4).
            device.tell_primaries(told);
        }
    }
    expired.next
}

#[expect(
    clippy::disallowed_methods,
    reason = "a driver; the message has the server's own clock"
)]
fn since_epoch() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
}
