//! Who is primary (P4Runtime §5): for each role of a switch, the stream with the largest election id ever seen.
//!
//! ```text
//!            id >= largest seen               leaves, or bids less
//!  backup ─────────────────────▶ primary ─────────────────────▶ nobody
//!                                   ▲                              │
//!                                   └──────────────────────────────┘
//!                                     id >= largest seen; no stream
//!                                     is promoted by itself
//! ```
//!
//! A plain state machine: streams come, bid and go; what every stream must be told comes out.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use weft_proto::vocab::ElectionId;

/// Most roles of one switch: each is remembered for as long as the switch is there.
const MAX_ROLES: usize = 64;
/// Most streams that one switch serves.
const MAX_STREAMS: usize = 256;

/// A stream of the process; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(crate) u64);

/// What a stream must be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// The stream.
    pub(crate) to: StreamId,
    /// `Ok`: it is primary. `AlreadyExists`: another one is. `NotFound`: nobody is.
    pub(crate) code: Code,
    /// The primary's election id, or the largest that was seen; `None` before the first.
    pub(crate) election: Option<ElectionId>,
}

/// The streams of one switch.
#[derive(Debug, Default)]
pub(crate) struct Arbitration {
    roles: BTreeMap<String, Role>,
}

#[derive(Debug, Default)]
struct Role {
    /// Each stream's bid.
    streams: BTreeMap<StreamId, Option<ElectionId>>,
    largest: Option<ElectionId>,
    primary: Option<StreamId>,
}

impl Arbitration {
    /// A stream bids, for the first time or again; without an election id it can only be backup.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for the election id of another live stream, `RESOURCE_EXHAUSTED` for too many streams; the
    /// stream must be ended then.
    pub(crate) fn bid(
        &mut self,
        role: &str,
        stream: StreamId,
        election: Option<ElectionId>,
    ) -> Result<Vec<Notice>, Status> {
        let count: usize = self.roles.values().map(|role| role.streams.len()).sum();
        if self.roles.len() >= MAX_ROLES && !self.roles.contains_key(role) {
            return Err(Status::resource_exhausted("too many roles for this device"));
        }
        let role = self.roles.entry(role.to_owned()).or_default();
        if count >= MAX_STREAMS && !role.streams.contains_key(&stream) {
            return Err(Status::resource_exhausted(
                "too many streams for this device",
            ));
        }
        let taken = |(&other, &bid): (&StreamId, &Option<ElectionId>)| {
            other != stream && bid.is_some() && bid == election
        };
        if role.streams.iter().any(taken) {
            return Err(Status::invalid_argument(
                "the election id belongs to another controller",
            ));
        }
        let before = role.streams.insert(stream, election);
        if election.is_some() && election >= role.largest {
            let refresh = role.primary == Some(stream) && before == Some(election);
            role.largest = election;
            role.primary = Some(stream);
            return Ok(match refresh {
                true => vec![role.notice(stream)],
                false => role.notices(),
            });
        }
        if role.primary == Some(stream) {
            role.primary = None;
            return Ok(role.notices());
        }
        Ok(vec![role.notice(stream)])
    }

    /// A stream has ended. If it was primary, nobody is now.
    pub(crate) fn leave(&mut self, role: &str, stream: StreamId) -> Vec<Notice> {
        let Some(role) = self.roles.get_mut(role) else {
            return Vec::new();
        };
        role.streams.remove(&stream);
        if role.primary != Some(stream) {
            return Vec::new();
        }
        role.primary = None;
        role.notices()
    }

    /// Whether there is such a role: the default one, or one that a stream has had.
    pub(crate) fn knows(&self, role: &str) -> bool {
        role.is_empty() || self.roles.contains_key(role)
    }

    /// Whether a request with this role and election id comes from the primary.
    pub(crate) fn may_write(&self, role: &str, election: Option<ElectionId>) -> bool {
        self.roles.get(role).is_some_and(|role| {
            role.primary
                .and_then(|primary| role.streams.get(&primary))
                .is_some_and(|bid| bid.is_some() && *bid == election)
        })
    }

    /// Whether a stream is its role's primary.
    pub(crate) fn is_primary(&self, role: &str, stream: StreamId) -> bool {
        self.roles
            .get(role)
            .is_some_and(|role| role.primary == Some(stream))
    }

    /// The primary of every role.
    pub(crate) fn primaries(&self) -> impl Iterator<Item = StreamId> {
        self.roles.values().filter_map(|role| role.primary)
    }
}

impl Role {
    /// What to tell everybody; backups first, so that the old primary knows before the new one acts.
    fn notices(&self) -> Vec<Notice> {
        let backups = self
            .streams
            .keys()
            .filter(|&&stream| Some(stream) != self.primary);
        backups
            .chain(self.primary.as_ref())
            .map(|&stream| self.notice(stream))
            .collect()
    }

    fn notice(&self, to: StreamId) -> Notice {
        let code = match self.primary {
            Some(primary) if primary == to => Code::Ok,
            Some(_) => Code::AlreadyExists,
            None => Code::NotFound,
        };
        Notice {
            to,
            code,
            election: self.largest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StreamId = StreamId(1);
    const B: StreamId = StreamId(2);
    const C: StreamId = StreamId(3);

    fn id(number: u128) -> Option<ElectionId> {
        Some(ElectionId(number))
    }

    fn told(notices: Vec<Notice>) -> Vec<(StreamId, Code, u128)> {
        notices
            .into_iter()
            .map(|notice| (notice.to, notice.code, notice.election.map_or(0, |id| id.0)))
            .collect()
    }

    #[test]
    fn the_largest_bid_is_primary_and_backups_learn_it() {
        let mut arbitration = Arbitration::default();
        assert_eq!(
            told(arbitration.bid("", A, id(5)).unwrap()),
            [(A, Code::Ok, 5)]
        );
        assert_eq!(
            told(arbitration.bid("", B, id(3)).unwrap()),
            [(B, Code::AlreadyExists, 5)]
        );
        assert_eq!(
            told(arbitration.bid("", C, id(9)).unwrap()),
            [
                (A, Code::AlreadyExists, 9),
                (B, Code::AlreadyExists, 9),
                (C, Code::Ok, 9)
            ]
        );
        assert!(arbitration.may_write("", id(9)));
        assert!(!arbitration.may_write("", id(5)));
        assert!(!arbitration.may_write("", None));
        assert!(arbitration.is_primary("", C));
    }

    #[test]
    fn nobody_is_promoted_when_the_primary_leaves() {
        let mut arbitration = Arbitration::default();
        arbitration.bid("", A, id(5)).unwrap();
        arbitration.bid("", B, id(3)).unwrap();
        assert_eq!(told(arbitration.leave("", A)), [(B, Code::NotFound, 5)]);
        assert!(!arbitration.may_write("", id(3)));
        assert_eq!(
            told(arbitration.bid("", B, id(4)).unwrap()),
            [(B, Code::NotFound, 5)]
        );
        assert_eq!(
            told(arbitration.bid("", B, id(5)).unwrap()),
            [(B, Code::Ok, 5)]
        );
        assert_eq!(told(arbitration.leave("", A)), []);
    }

    #[test]
    fn an_equal_bid_is_a_refresh_on_the_same_stream_and_an_error_on_another() {
        let mut arbitration = Arbitration::default();
        arbitration.bid("", A, id(5)).unwrap();
        arbitration.bid("", B, None).unwrap();
        assert_eq!(
            told(arbitration.bid("", A, id(5)).unwrap()),
            [(A, Code::Ok, 5)]
        );
        let error = arbitration.bid("", C, id(5)).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(arbitration.is_primary("", A));
    }

    #[test]
    fn a_primary_that_bids_less_steps_down() {
        let mut arbitration = Arbitration::default();
        arbitration.bid("", A, id(5)).unwrap();
        arbitration.bid("", B, None).unwrap();
        assert_eq!(
            told(arbitration.bid("", A, id(4)).unwrap()),
            [(A, Code::NotFound, 5), (B, Code::NotFound, 5)]
        );
        assert!(!arbitration.may_write("", id(4)));
    }

    #[test]
    fn a_stream_without_election_id_is_backup() {
        let mut arbitration = Arbitration::default();
        assert_eq!(
            told(arbitration.bid("", A, None).unwrap()),
            [(A, Code::NotFound, 0)]
        );
        assert!(!arbitration.may_write("", None));
    }

    #[test]
    fn roles_elect_apart() {
        let mut arbitration = Arbitration::default();
        arbitration.bid("", A, id(5)).unwrap();
        assert_eq!(
            told(arbitration.bid("observer", B, id(1)).unwrap()),
            [(B, Code::Ok, 1)]
        );
        assert!(arbitration.may_write("observer", id(1)));
        assert!(!arbitration.may_write("", id(1)));
        assert_eq!(arbitration.primaries().count(), 2);
    }

    #[test]
    fn streams_are_limited() {
        let mut arbitration = Arbitration::default();
        for stream in 0..256 {
            arbitration.bid("", StreamId(stream), None).unwrap();
        }
        let error = arbitration.bid("", StreamId(256), None).unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted);
        arbitration.bid("", StreamId(7), id(1)).unwrap();
    }
}
