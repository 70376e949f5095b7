//! A switch as its controllers see it: pipeline configuration, forwarding state, sessions, and who writes.
//!
//! The master copy of the forwarding state is here. Writers take turns; each clones the state, changes the clone,
//! sends it to the workers and makes it the master copy. Readers clone the master copy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::mpsc;
use tonic::{Code, Status};
use weft_proto::codec::encode_packet_metadata;
use weft_proto::google;
use weft_proto::p4::v1 as wire;
use weft_proto::vocab::{DeviceId, ElectionId};

use crate::drops::DropNames;
use crate::packet::Packet;
use crate::server::IdleWatch;
use crate::server::arbitration::{Arbitration, Notice, StreamId};
use crate::state::State;
use crate::worker::PacketInSink;

/// Messages that wait for a slow client; packets do not use the last [`RESERVED`] places.
pub(crate) const STREAM_QUEUE: usize = 1024;
/// Places that are kept for what must not be lost.
const RESERVED: usize = 128;

/// What a stream is sent.
pub(crate) type StreamItem = Result<wire::StreamMessageResponse, Status>;

/// One switch.
#[derive(Debug)]
pub(crate) struct Device {
    /// P4Runtime's device id.
    pub(crate) id: DeviceId,
    /// Held by whoever changes the forwarding state.
    pub(crate) turn: tokio::sync::Mutex<()>,
    forwarding: RwLock<Forwarding>,
    sessions: Mutex<Sessions>,
    claim: Mutex<Claim>,
    drop_names: Mutex<DropNames>,
    /// When entries are searched for idle ones.
    pub(crate) idle: IdleWatch,
}

/// Pipelines and their entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forwarding {
    /// What packets run through.
    pub(crate) committed: Option<Loaded>,
    /// What was verified and saved, and gets the writes until it is committed.
    pub(crate) saved: Option<Loaded>,
}

/// A pipeline configuration and its entries.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// As it was pushed.
    pub(crate) config: Arc<wire::ForwardingPipelineConfig>,
    /// Program and entries.
    pub(crate) state: State,
}

/// The writer that was last accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Its cluster; empty before the first.
    pub(crate) cluster_id: String,
    /// Grows with each take-over within the cluster.
    pub(crate) epoch: u64,
    /// The highest revision of the store that it spoke for.
    pub(crate) revision: u64,
}

/// The streams of a switch.
#[derive(Debug, Default)]
struct Sessions {
    arbitration: Arbitration,
    streams: BTreeMap<StreamId, mpsc::Sender<StreamItem>>,
}

impl Forwarding {
    /// What reads and writes refer to.
    pub(crate) fn target(&self) -> Option<&Loaded> {
        self.saved.as_ref().or(self.committed.as_ref())
    }
}

impl Claim {
    /// Whether a writer is not behind the one before: a later epoch, or the same epoch of the same cluster and no
    /// earlier revision.
    pub(crate) fn allows(&self, next: &Self) -> bool {
        if self.cluster_id.is_empty() || next.epoch > self.epoch {
            return true;
        }
        self.cluster_id == next.cluster_id
            && next.epoch == self.epoch
            && next.revision >= self.revision
    }
}

impl Device {
    /// A switch without pipeline and without sessions.
    pub(crate) fn new(id: DeviceId) -> Self {
        Self {
            id,
            turn: tokio::sync::Mutex::new(()),
            forwarding: RwLock::default(),
            sessions: Mutex::default(),
            claim: Mutex::default(),
            drop_names: Mutex::default(),
            idle: IdleWatch::default(),
        }
    }

    /// What the drop counters of its ports count.
    pub(crate) fn drop_names(&self) -> MutexGuard<'_, DropNames> {
        // Names are only added, one by one.
        self.drop_names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The forwarding state; cheap, tables are shared.
    pub(crate) fn forwarding(&self) -> Forwarding {
        self.forwarding
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the forwarding state; the caller has the turn.
    pub(crate) fn set_forwarding(&self, forwarding: Forwarding) {
        *self
            .forwarding
            .write()
            .unwrap_or_else(PoisonError::into_inner) = forwarding;
    }

    /// What reads and writes refer to.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` without a pipeline.
    pub(crate) fn loaded(&self) -> Result<Loaded, Status> {
        self.forwarding()
            .target()
            .cloned()
            .ok_or_else(|| Status::failed_precondition("the switch has no pipeline yet"))
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Arbitration and the list of streams are changed without a call that can panic between.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts or refuses a writer; also says what is remembered then.
    pub(crate) fn claim(&self, next: Claim) -> (bool, Claim) {
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted = claim.allows(&next);
        if accepted {
            *claim = next;
        }
        (accepted, claim.clone())
    }

    /// Lets a stream bid; `sender` is what it is told by, given with its first bid. Backups are told at once; the
    /// notices that the primary must get when all earlier writes are done come back.
    ///
    /// # Errors
    /// See [`Arbitration::bid`].
    pub(crate) fn bid(
        &self,
        role: &str,
        stream: StreamId,
        election: Option<ElectionId>,
        sender: Option<mpsc::Sender<StreamItem>>,
    ) -> Result<Vec<Notice>, Status> {
        let mut sessions = self.sessions();
        let notices = sessions.arbitration.bid(role, stream, election)?;
        if let Some(sender) = sender {
            sessions.streams.insert(stream, sender);
        }
        let (primary, backups) = notices
            .into_iter()
            .partition(|notice| notice.code == Code::Ok);
        self.tell(&mut sessions, role, backups);
        Ok(primary)
    }

    /// Tells the primary that it is, unless that has changed since.
    pub(crate) fn confirm(&self, role: &str, notices: Vec<Notice>) {
        let mut sessions = self.sessions();
        let valid = notices
            .into_iter()
            .filter(|notice| sessions.arbitration.is_primary(role, notice.to))
            .collect();
        self.tell(&mut sessions, role, valid);
    }

    /// Forgets a stream that has ended.
    pub(crate) fn leave(&self, role: &str, stream: StreamId) {
        let mut sessions = self.sessions();
        sessions.streams.remove(&stream);
        let notices = sessions.arbitration.leave(role, stream);
        self.tell(&mut sessions, role, notices);
    }

    fn tell(&self, sessions: &mut Sessions, role: &str, notices: Vec<Notice>) {
        for notice in notices {
            let Some(stream) = sessions.streams.get(&notice.to) else {
                continue;
            };
            // A client so slow that even the reserved places are taken loses its stream.
            if stream
                .try_send(Ok(self.arbitration(role, &notice)))
                .is_err()
            {
                sessions.streams.remove(&notice.to);
            }
        }
    }

    fn arbitration(&self, role: &str, notice: &Notice) -> wire::StreamMessageResponse {
        let message = match notice.code {
            Code::Ok => "you are primary",
            Code::AlreadyExists => "you are backup, another controller is primary",
            _ => "you are backup, there is no primary",
        };
        let update = wire::MasterArbitrationUpdate {
            device_id: self.id.0,
            role: (!role.is_empty()).then(|| wire::Role {
                name: role.to_owned(),
                ..wire::Role::default()
            }),
            election_id: notice.election.map(uint128),
            status: Some(google::rpc::Status {
                code: notice.code.into(),
                message: message.to_owned(),
                details: Vec::new(),
            }),
        };
        wire::StreamMessageResponse {
            update: Some(wire::stream_message_response::Update::Arbitration(update)),
        }
    }

    /// Lets only the primary of a role pass.
    ///
    /// # Errors
    /// `NOT_FOUND` for a role that nobody has had, `PERMISSION_DENIED` for everybody else.
    pub(crate) fn check_primary(
        &self,
        role: &str,
        election: Option<&wire::Uint128>,
    ) -> Result<(), Status> {
        let sessions = self.sessions();
        let arbitration = &sessions.arbitration;
        if !arbitration.knows(role) {
            return Err(Status::not_found("no controller has had this role"));
        }
        match arbitration.may_write(role, election_id(election)) {
            true => Ok(()),
            false => Err(Status::permission_denied(
                "only the primary controller may do this",
            )),
        }
    }

    /// Whether a stream is its role's primary.
    pub(crate) fn is_primary(&self, role: &str, stream: StreamId) -> bool {
        self.sessions().arbitration.is_primary(role, stream)
    }

    /// Sends a packet to each role's primary; `false` when nobody got it.
    fn packet_in(&self, metadata: &[(u32, u128)], packet: &Packet) -> bool {
        let Some(loaded) = self.forwarding().committed else {
            return false;
        };
        let values: Vec<u128> = metadata.iter().map(|&(_, value)| value).collect();
        let schema = loaded.state.program().schema();
        self.tell_primaries(wire::stream_message_response::Update::Packet(
            wire::PacketIn {
                payload: packet.to_vec().into(),
                metadata: encode_packet_metadata(schema.packet_in(), &values),
            },
        ))
    }

    /// Tells each role's primary what it may miss; `false` when nobody got it.
    pub(crate) fn tell_primaries(&self, update: wire::stream_message_response::Update) -> bool {
        let message = wire::StreamMessageResponse {
            update: Some(update),
        };
        let sessions = self.sessions();
        let streams = sessions
            .arbitration
            .primaries()
            .filter_map(|primary| sessions.streams.get(&primary))
            .filter(|stream| stream.capacity() > RESERVED);
        let taken = streams.filter(|stream| stream.try_send(Ok(message.clone())).is_ok());
        taken.count() > 0
    }
}

/// The switches of a process by device id.
pub(crate) type Devices = BTreeMap<DeviceId, Arc<Device>>;

/// Hands packets to the switches' primary controllers.
#[derive(Debug)]
pub(crate) struct Sink(pub(crate) Devices);

impl PacketInSink for Sink {
    fn packet_in(&self, device: DeviceId, metadata: &[(u32, u128)], packet: &Packet) -> bool {
        self.0
            .get(&device)
            .is_some_and(|device| device.packet_in(metadata, packet))
    }
}

/// An election id from the wire. 0 is one, the smallest; only what is left out is none (P4Runtime §16.2.1).
pub(crate) fn election_id(wire: Option<&wire::Uint128>) -> Option<ElectionId> {
    let wire = wire?;
    let id = u128::from(wire.high) << 64 | u128::from(wire.low);
    Some(ElectionId(id))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves of a number"
)]
fn uint128(id: ElectionId) -> wire::Uint128 {
    wire::Uint128 {
        high: (id.0 >> 64) as u64,
        low: id.0 as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(cluster: &str, epoch: u64, revision: u64) -> Claim {
        Claim {
            cluster_id: cluster.to_owned(),
            epoch,
            revision,
        }
    }

    #[test]
    fn a_writer_that_is_behind_is_refused() {
        let device = Device::new(DeviceId(1));
        assert!(device.claim(claim("a", 3, 40)).0);
        assert!(device.claim(claim("a", 3, 40)).0);
        assert!(device.claim(claim("a", 4, 20)).0);
        for behind in [claim("a", 3, 99), claim("a", 4, 19), claim("b", 4, 99)] {
            assert_eq!(device.claim(behind), (false, claim("a", 4, 20)));
        }
        assert!(device.claim(claim("b", 5, 1)).0);
    }

    #[test]
    fn an_election_id_that_is_left_out_is_none_and_zero_is_one() {
        let wire = |high, low| wire::Uint128 { high, low };
        assert_eq!(election_id(None), None);
        assert_eq!(election_id(Some(&wire(0, 0))), Some(ElectionId(0)));
        let id = election_id(Some(&wire(2, 3)));
        assert_eq!(id, Some(ElectionId((2 << 64) + 3)));
        assert_eq!(uint128(id.unwrap()), wire(2, 3));
    }
}
