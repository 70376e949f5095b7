//! The driver of one switch: a session, and within it compare and write, until the session ends.
//!
//! ```text
//!  connect ── bid ──► backup ◄──────────┐
//!                │      │ vacant: bid   │ another primary
//!                ▼      ▼ more          │
//!             primary ── claim ── pipeline ── read ── write* ── steady ─┐
//!                                               ▲       ▲               │ news, retry
//!                                               └───────┴───────────────┘
//! ```

mod prepare;
mod report;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};
use weft_proto::codec;
use weft_proto::node::v1::node_client::NodeClient;
use weft_proto::p4::v1 as wire;
use weft_proto::vocab::{ElectionId, EntryKey};

use self::prepare::{claim, is_refusal, refusal};
use super::election::Elections;
use super::session::{Message, Role, Session};
use super::{Batches, Mailbox, Reconciler};
use crate::compile::Update;
use crate::packets::{PacketLog, PacketOut};
use crate::pipeline::Pipeline;
use crate::southbound::{SwitchClient, code_name, timed};
use crate::status::SwitchStatus;
use crate::store::{Revision, StoreError};

/// Updates in one write.
const BATCH: usize = 2000;
/// Updates in one write that is all or nothing; what belongs together shall fit.
const WHOLE_BATCH: usize = 16_384;
/// Delays between attempts to connect.
const FIRST_DELAY: Duration = Duration::from_millis(2);
const LAST_DELAY: Duration = Duration::from_secs(1);
/// Delay before a switch that refused our claim is asked again.
const CLAIM_DELAY: Duration = Duration::from_secs(5);
/// How long the answer to the first bid may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a complete read may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What all switches have in common.
#[derive(Debug)]
pub(crate) struct Common {
    /// The pipeline of the fabric.
    pub(crate) builtin: Arc<Pipeline>,
    pub(crate) cluster: String,
    pub(crate) elections: Elections,
    /// Tells the controller to look at the statuses again.
    pub(crate) status_changed: Notify,
    pub(crate) events: mpsc::Sender<TaskEvent>,
    /// Packets of all switches.
    pub(crate) packets: Arc<PacketLog>,
    pub(crate) cancel: CancellationToken,
}

/// What a switch's task tells the controller.
#[derive(Debug)]
pub(crate) enum TaskEvent {
    /// Of these resources no entry was hit for its idle timeout.
    IdleTimeout { switch: String, tags: Vec<String> },
    /// The switch can run the pipeline with this cookie, or refuses it.
    Pipeline {
        switch: String,
        cookie: u64,
        accepted: bool,
    },
}

/// One switch's driver.
#[derive(Debug)]
pub(crate) struct SwitchTask {
    name: String,
    common: Arc<Common>,
    client: SwitchClient,
    node: NodeClient<Channel>,
    mailbox: Arc<Mailbox>,
    /// Packets to send while this controller is primary.
    packets: mpsc::Receiver<PacketOut>,
    published: watch::Sender<Arc<SwitchStatus>>,
    status: SwitchStatus,
    core: Reconciler,
    /// What the switch shall run.
    pipeline: Arc<Pipeline>,
    /// What it shall be asked about.
    offer: Option<Arc<Pipeline>>,
    /// Revision and generation of the news that the core has.
    revision: Revision,
    generation: u64,
    claimed: Revision,
    /// Whether the switch takes batches that are all or nothing.
    atomic: bool,
    foreign_primary: bool,
    behind: Option<String>,
    pipeline_error: Option<String>,
    /// Something happened since the status was published.
    stale: bool,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("{}: {}", code_name(.0.code()), .0.message())]
    Rpc(#[from] Status),
    #[error("no election id")]
    Store(#[from] StoreError),
    #[error("the controller asked for a new session")]
    Restart,
}

impl SwitchTask {
    pub(crate) fn new(
        name: &str,
        common: Arc<Common>,
        client: SwitchClient,
        node: NodeClient<Channel>,
        (mailbox, packets): (Arc<Mailbox>, mpsc::Receiver<PacketOut>),
        published: watch::Sender<Arc<SwitchStatus>>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            pipeline: Arc::clone(&common.builtin),
            offer: None,
            common,
            client,
            node,
            mailbox,
            packets,
            published,
            status: SwitchStatus::default(),
            core: Reconciler::new(name),
            revision: Revision::default(),
            generation: 0,
            claimed: Revision::default(),
            atomic: true,
            foreign_primary: false,
            behind: None,
            pipeline_error: None,
            stale: true,
        }
    }

    /// Runs until the controller ends.
    #[tracing::instrument(name = "switch", skip_all, fields(switch = %self.name))]
    pub(crate) async fn run(mut self) {
        let cancel = self.common.cancel.clone();
        let mut delay = FIRST_DELAY;
        loop {
            let error = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                error = self.session() => error,
            };
            if self.status.reconciled {
                tracing::warn!(%error, "session ended");
                delay = FIRST_DELAY;
            } else {
                tracing::debug!(%error, "no session");
            }
            self.status.connected = false;
            self.status.reachable = false;
            self.status.reconciled = false;
            self.foreign_primary = false;
            self.publish(Some(error.to_string()));
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
            delay = (delay * 2).min(LAST_DELAY);
        }
    }

    /// One session, from connect to loss.
    async fn session(&mut self) -> SessionError {
        match self.arbitrate().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn arbitrate(&mut self) -> Result<std::convert::Infallible, SessionError> {
        let election = self.common.elections.current();
        let open = Session::open(&mut self.client, election);
        let (mut session, mut role) = tokio::time::timeout(OPEN_TIMEOUT, open)
            .await
            .map_err(|_| Status::deadline_exceeded("no answer to the bid"))??;
        let mut election = election;
        self.status.reachable = true;
        loop {
            match role {
                Role::Primary => role = self.lead(&mut session, election).await?,
                Role::Backup => {
                    self.stand_by();
                    role = next_role(&mut session).await?;
                }
                Role::Vacant { highest } => {
                    self.stand_by();
                    election = self.common.elections.above(highest).await?;
                    session.bid(election).await?;
                    role = next_role(&mut session).await?;
                }
            }
        }
    }

    fn stand_by(&mut self) {
        self.status.connected = false;
        self.status.reconciled = false;
        self.foreign_primary = true;
        self.publish(None);
    }

    /// Does the work of the primary until somebody else is; returns the new role.
    async fn lead(
        &mut self,
        session: &mut Session,
        election: ElectionId,
    ) -> Result<Role, SessionError> {
        self.foreign_primary = false;
        self.core.begin_session();
        self.claimed = Revision::default();
        self.atomic = true;
        self.take_news()?;
        if let Some(role) = self.claim_or_wait(session, election).await? {
            return Ok(role);
        }
        let prepared = self.prepare_pipeline(election).await;
        self.pipeline_error = prepared.as_ref().err().map(ToString::to_string);
        let cleared = match prepared {
            Ok(cleared) => cleared,
            Err(SessionError::Rpc(status)) if is_refusal(&status) && !self.is_builtin() => {
                self.refused(self.pipeline.cookie, &status).await;
                // The controller goes back to another.
                return self.wait_for_pipeline(session).await;
            }
            Err(error) => return Err(error),
        };
        self.status.running = Some(self.pipeline.cookie);
        self.status.connected = true;
        self.status.totals.connects += 1;
        // Nothing can be compared before there is something to compare with.
        while !self.core.has_fabric() {
            tokio::select! {
                biased;
                role = next_role(session) => match role? {
                    Role::Primary => {}
                    other => return Ok(other),
                },
                () = self.mailbox.changed() => if self.take_news()? {
                    return Ok(Role::Primary);
                },
            }
        }
        if cleared {
            self.status.observed_revision = Revision::default();
            self.status.observed_generation = 0;
            self.core.handle_cleared();
        }
        self.stale = true;
        loop {
            if self.core.needs_read() {
                self.read().await?;
            }
            let (limit, shape) = if self.atomic {
                (WHOLE_BATCH, Batches::Whole)
            } else {
                (BATCH, Batches::Stages)
            };
            let batch = self.core.next_batch(limit, shape);
            if !batch.is_empty() {
                self.write(election, batch).await?;
                if self.take_news()? {
                    return Ok(Role::Primary);
                }
                continue;
            }
            self.settle();
            if let Some(offer) = self.offer.clone() {
                self.verify(election, &offer).await?;
                self.offer = None;
            }
            let retry = self.core.retry_delay();
            tokio::select! {
                biased;
                message = session.next() => match message? {
                    Message::Role(Role::Primary) | Message::Other => {}
                    Message::Role(other) => return Ok(other),
                    Message::IdleTimeout(entries) => self.report_idle(&entries).await,
                    Message::PacketIn(packet) => self.take_packet(packet),
                    Message::Error(detail) => tracing::warn!(%detail, "switch refused a packet"),
                },
                Some(packet) = self.packets.recv() => self.send_packet(session, packet).await?,
                () = self.mailbox.changed() => {}
                () = sleep(retry) => self.core.handle_retry(),
            }
            if self.take_news()? {
                return Ok(Role::Primary);
            }
        }
    }

    async fn read(&mut self) -> Result<(), SessionError> {
        let state = tokio::time::timeout(READ_TIMEOUT, self.client.read_all(&self.pipeline.schema))
            .await
            .map_err(|_| Status::deadline_exceeded("read takes too long"))??;
        if state.undecodable > 0 {
            tracing::error!(
                count = state.undecodable,
                "switch holds entries that do not fit its pipeline"
            );
        }
        self.status.totals.reads += 1;
        self.core.handle_observed(state);
        Ok(())
    }

    async fn write(
        &mut self,
        election: ElectionId,
        batch: Vec<Update>,
    ) -> Result<(), SessionError> {
        self.status.writing_revision = self.revision;
        self.status.writing_generation = self.generation;
        self.publish(None);
        if self.revision > self.claimed {
            let claim = claim(&self.common, &self.client, election, self.revision);
            if let Some(detail) =
                refusal(timed(self.node.claim(claim)).await, &self.common.cluster)?
            {
                self.behind = Some(detail);
                return Err(SessionError::Restart);
            }
            self.claimed = self.revision;
        }
        self.stale = true;
        self.status.totals.batches += 1;
        let answer = match self
            .client
            .write(&self.pipeline.schema, election, &batch, self.atomic)
            .await
        {
            // Then in stages, each in a batch of its own.
            Err(status) if self.atomic && status.code() == Code::Unimplemented => {
                self.atomic = false;
                let answers = vec![super::Answer::Aborted; batch.len()];
                self.core.handle_answers(batch, answers);
                return Ok(());
            }
            // One bad update undid the others: this time each stands for itself.
            Ok(answer) if self.atomic && !answer.complete => {
                self.client
                    .write(&self.pipeline.schema, election, &batch, false)
                    .await
            }
            other => other,
        }?;
        let done = answer
            .answers
            .iter()
            .filter(|answer| **answer == super::Answer::Done)
            .count();
        self.status.totals.writes += u64::try_from(done).unwrap_or(u64::MAX);
        self.status.totals.rejected += self.core.handle_answers(batch, answer.answers);
        Ok(())
    }

    /// Everything is committed: says so.
    fn settle(&mut self) {
        if !self.stale {
            return;
        }
        self.stale = false;
        self.status.observed_revision = self.status.observed_revision.max(self.revision);
        self.status.observed_generation = self.generation;
        self.status.reconciled = true;
        self.status.totals.reconciles += 1;
        self.publish(None);
    }

    /// Takes what the controller posted; true when the switch shall run another pipeline, for which all was posted anew.
    fn take_news(&mut self) -> Result<bool, SessionError> {
        let news = self.mailbox.take();
        if let Some(offer) = news.offer {
            self.offer = offer;
            self.status.refused = None;
        }
        let swaps = news.pipeline.is_some();
        if let Some(pipeline) = news.pipeline {
            self.pipeline = pipeline;
            self.core = Reconciler::new(&self.name);
            if self.generation > 0 {
                // Whoever gave the switch another pipeline explains what goes with it.
                self.core.explain_deletes();
            }
        }
        self.core.set_programs(news.programs);
        if let Some(fabric) = news.fabric {
            self.core.set_fabric(fabric);
        }
        if news.sync {
            self.core.handle_sync();
        }
        self.stale |= self.generation != news.generation;
        self.revision = news.revision;
        self.generation = news.generation;
        self.status.desired_revision = news.revision;
        self.status.desired_generation = news.generation;
        if news.restart {
            Err(SessionError::Restart)
        } else {
            Ok(swaps)
        }
    }

    fn take_packet(&self, packet: wire::PacketIn) {
        let fields = self.pipeline.schema.packet_in();
        match codec::decode_packet_metadata(fields, &packet.metadata) {
            Ok(metadata) => {
                let log = &self.common.packets;
                log.add(&self.name, metadata, packet.payload);
            }
            Err(error) => tracing::warn!(%error, "packet-in does not fit the pipeline"),
        }
    }

    async fn send_packet(&self, session: &Session, packet: PacketOut) -> Result<(), Status> {
        // Nobody waits any more: it is too late for this packet.
        if packet.sent.is_closed() {
            return Ok(());
        }
        let fields = self.pipeline.schema.packet_out();
        let message = wire::PacketOut {
            payload: packet.payload,
            metadata: codec::encode_packet_metadata(fields, &packet.metadata),
        };
        session.send(message).await?;
        let _ = packet.sent.send(());
        Ok(())
    }

    /// Tells of resources that nothing hits. The switch tells of each entry; of one that has several, all have to be idle.
    async fn report_idle(&mut self, entries: &[wire::TableEntry]) {
        let schema = Arc::clone(&self.pipeline.schema);
        let keys: BTreeSet<EntryKey> = entries
            .iter()
            .filter_map(|entry| codec::decode_entry(&schema, entry).ok())
            .map(|entry| entry.key)
            .collect();
        let mut tags = Vec::new();
        for (tag, others) in self.core.idle_candidates(&keys) {
            match self.client.are_idle(&schema, &others).await {
                Ok(true) => tags.push(tag),
                Ok(false) => {}
                // The switch tells of idle entries again.
                Err(error) => tracing::debug!(error = error.message(), "idle times not read"),
            }
        }
        if tags.is_empty() {
            return;
        }
        let event = TaskEvent::IdleTimeout {
            switch: self.name.clone(),
            tags,
        };
        // The controller takes events until it ends; then nobody needs them.
        let _ = self.common.events.send(event).await;
    }
}

/// Reads the stream until the role changes.
async fn next_role(session: &mut Session) -> Result<Role, Status> {
    loop {
        if let Message::Role(role) = session.next().await? {
            return Ok(role);
        }
    }
}

/// Sleeps; for ever without a delay.
async fn sleep(delay: Option<Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep(delay).await,
        None => std::future::pending().await,
    }
}
