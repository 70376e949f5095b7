//! One switch's P4Runtime stream: who is primary, and what the switch has to say.

use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::stream_message_request::Update as Request;
use weft_proto::p4::v1::stream_message_response::Update as Response;
use weft_proto::vocab::{DeviceId, ElectionId};

use crate::southbound::{SwitchClient, decode_election, encode_election};

/// Requests that wait for the stream; arbitration sends one at a time.
const QUEUE: usize = 16;

/// An open stream.
#[derive(Debug)]
pub(super) struct Session {
    device: DeviceId,
    requests: mpsc::Sender<wire::StreamMessageRequest>,
    responses: Streaming<wire::StreamMessageResponse>,
}

/// What this client is to the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It may write.
    Primary,
    /// Another client may.
    Backup,
    /// Nobody may, until somebody bids more than `highest`, or as much.
    Vacant { highest: ElectionId },
}

/// What the switch says on the stream.
#[derive(Debug)]
pub(super) enum Message {
    Role(Role),
    /// These entries were not hit for their idle timeout.
    IdleTimeout(Vec<wire::TableEntry>),
    /// A packet, with what came with it.
    PacketIn(wire::PacketIn),
    /// The switch took something amiss.
    Error(String),
    /// Something that needs no answer.
    Other,
}

impl Session {
    /// Opens the stream and bids for being primary.
    pub(super) async fn open(
        client: &mut SwitchClient,
        election: ElectionId,
    ) -> Result<(Self, Role), Status> {
        let (requests, queue) = mpsc::channel(QUEUE);
        // The bid is queued first: a server may answer nothing before it has heard something.
        let bid = arbitration(client.device, election);
        requests
            .try_send(bid)
            .map_err(|_| Status::internal("the queue is new"))?;
        let responses = client.stream(queue).await?;
        let mut session = Self {
            device: client.device,
            requests,
            responses,
        };
        loop {
            if let Message::Role(role) = session.next().await? {
                return Ok((session, role));
            }
        }
    }

    /// Bids again.
    pub(super) async fn bid(&self, election: ElectionId) -> Result<(), Status> {
        let bid = arbitration(self.device, election);
        self.requests
            .send(bid)
            .await
            .map_err(|_| Status::unavailable("stream ended"))
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// The stream ended.
    pub(super) async fn next(&mut self) -> Result<Message, Status> {
        let message = self
            .responses
            .message()
            .await?
            .ok_or_else(|| Status::unavailable("stream ended"))?;
        Ok(match message.update {
            Some(Response::Arbitration(update)) => Message::Role(role(&update)),
            Some(Response::IdleTimeoutNotification(idle)) => Message::IdleTimeout(idle.table_entry),
            Some(Response::Packet(packet)) => Message::PacketIn(packet),
            Some(Response::Error(error)) => Message::Error(error.message),
            _ => Message::Other,
        })
    }

    /// Sends a packet.
    pub(super) async fn send(&self, packet: wire::PacketOut) -> Result<(), Status> {
        let update = Some(Request::Packet(packet));
        self.requests
            .send(wire::StreamMessageRequest { update })
            .await
            .map_err(|_| Status::unavailable("stream ended"))
    }
}

fn arbitration(device: DeviceId, election: ElectionId) -> wire::StreamMessageRequest {
    wire::StreamMessageRequest {
        update: Some(Request::Arbitration(wire::MasterArbitrationUpdate {
            device_id: device.0,
            election_id: Some(encode_election(election)),
            ..Default::default()
        })),
    }
}

fn role(update: &wire::MasterArbitrationUpdate) -> Role {
    let code = update
        .status
        .as_ref()
        .map_or(Code::Ok, |status| Code::from(status.code));
    match code {
        Code::Ok => Role::Primary,
        Code::NotFound => Role::Vacant {
            highest: update
                .election_id
                .as_ref()
                .map(decode_election)
                .unwrap_or_default(),
        },
        _ => Role::Backup,
    }
}
