//! How a switch's task learns what has changed: newest state only, never a queue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::compile::Desired;
use crate::pipeline::Pipeline;
use crate::resource::Program;
use crate::store::Revision;

/// What has changed for one switch since its task looked last.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// What the fabric wants, where that was compiled again.
    pub(crate) fabric: Option<Desired>,
    /// What changed of the resources on the switch; `None` is one that is gone.
    pub(crate) programs: BTreeMap<String, Option<Arc<Program>>>,
    /// Another pipeline to run. All that the switch shall hold comes with it, and what was posted before is void.
    pub(crate) pipeline: Option<Arc<Pipeline>>,
    /// A pipeline that the switch shall be asked about, or none any more.
    pub(crate) offer: Option<Option<Arc<Pipeline>>>,
    /// With this news the switch is desired to be at this revision.
    pub(crate) revision: Revision,
    /// Counts the posts.
    pub(crate) generation: u64,
    /// Somebody asked for a repair.
    pub(crate) sync: bool,
    /// The session shall begin again.
    pub(crate) restart: bool,
}

/// Merges news until the task takes it, so that a slow switch costs memory for its resources and nothing more.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    news: Mutex<News>,
    changed: Notify,
}

impl Mailbox {
    /// Adds news; they are what the switch shall be at `revision`.
    ///
    /// Returns the generation that has them.
    pub(crate) fn post(&self, revision: Revision, add: impl FnOnce(&mut News)) -> u64 {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        news.revision = news.revision.max(revision);
        news.generation += 1;
        add(&mut news);
        let generation = news.generation;
        drop(news);
        self.changed.notify_one();
        generation
    }

    /// The generation of the last post.
    pub(crate) fn generation(&self) -> u64 {
        self.news
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .generation
    }

    /// Takes what there is; revision and generation stay.
    pub(crate) fn take(&self) -> News {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let (revision, generation) = (news.revision, news.generation);
        std::mem::replace(
            &mut *news,
            News {
                revision,
                generation,
                ..News::default()
            },
        )
    }

    /// Waits for news; returns at once when some came since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
