//! The bidirectional stream of a controller (P4Runtime §5, §16): arbitration, packets in both directions.

use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use weft_proto::codec::decode_packet_metadata;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::stream_message_request::Update as Asked;
use weft_proto::p4::v1::stream_message_response::Update as Told;
use weft_proto::vocab::DeviceId;

use super::arbitration::StreamId;
use crate::device::{Device, STREAM_QUEUE, StreamItem, election_id};
use crate::host::Shared;
use crate::packet::{HEAD_DATA, Packet, TAIL_SIZE};
use crate::worker::PacketOut;

/// A stream that is open.
struct Session {
    shared: Arc<Shared>,
    id: StreamId,
    asked: Streaming<wire::StreamMessageRequest>,
    told: mpsc::Receiver<StreamItem>,
    /// Handed to the device with the first bid; the queue closes when the device lets go of it.
    sender: Option<mpsc::Sender<StreamItem>>,
    member: Option<Member>,
    stop: CancellationToken,
    ended: bool,
}

/// What a stream has become by its first bid, and stays.
struct Member {
    device: Arc<Device>,
    role: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(member) = &self.member {
            member.device.leave(&member.role, self.id);
        }
    }
}

/// Everything that a new stream is answered; the session ends with it.
pub(super) fn session(
    shared: Arc<Shared>,
    asked: Streaming<wire::StreamMessageRequest>,
    stop: CancellationToken,
) -> impl Stream<Item = StreamItem> + Send {
    let (sender, told) = mpsc::channel(STREAM_QUEUE);
    let session = Session {
        id: StreamId(shared.next_id()),
        shared,
        asked,
        told,
        sender: Some(sender),
        member: None,
        stop,
        ended: false,
    };
    futures_util::stream::unfold(session, |mut session| async move {
        let item = session.next().await?;
        session.ended = item.is_err();
        Some((item, session))
    })
}

impl Session {
    /// The next thing to tell the client; `None` at the end.
    async fn next(&mut self) -> Option<StreamItem> {
        if self.ended {
            return None;
        }
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                told = self.told.recv() => {
                    return Some(told.unwrap_or_else(|| {
                        Err(Status::resource_exhausted("the client reads too slowly"))
                    }));
                }
                asked = self.asked.message() => {
                    let update = match asked {
                        Ok(Some(message)) => message.update,
                        Ok(None) => return None,
                        Err(status) => return Some(Err(status)),
                    };
                    match self.handle(update).await {
                        Ok(None) => {}
                        Ok(Some(answer)) => return Some(Ok(answer)),
                        Err(status) => return Some(Err(status)),
                    }
                }
            }
        }
    }

    /// Does what the client asks; an error ends the stream.
    async fn handle(
        &mut self,
        update: Option<Asked>,
    ) -> Result<Option<wire::StreamMessageResponse>, Status> {
        match update {
            Some(Asked::Arbitration(bid)) => {
                self.bid(&bid).await?;
                Ok(None)
            }
            Some(Asked::Packet(packet)) => {
                let refused = self.packet_out(&packet).err();
                Ok(refused.map(|status| {
                    let details = wire::stream_error::Details::PacketOut(wire::PacketOutError {
                        packet_out: Some(packet),
                    });
                    stream_error(&status, details)
                }))
            }
            Some(Asked::DigestAck(ack)) => {
                let status = Status::unimplemented("digests are not supported");
                let details =
                    wire::stream_error::Details::DigestListAck(wire::DigestListAckError {
                        digest_list_ack: Some(ack),
                    });
                Ok(Some(stream_error(&status, details)))
            }
            Some(Asked::Other(other)) => {
                let status = Status::unimplemented("there are no other messages");
                let details = wire::stream_error::Details::Other(wire::StreamOtherError {
                    other: Some(other),
                });
                Ok(Some(stream_error(&status, details)))
            }
            None => Err(Status::invalid_argument("the message is empty")),
        }
    }

    async fn bid(&mut self, bid: &wire::MasterArbitrationUpdate) -> Result<(), Status> {
        let role = bid.role.as_ref();
        if role.is_some_and(|role| role.config.is_some()) {
            // No scheme was agreed upon, so none matches (§5.2).
            return Err(Status::invalid_argument("role.config is not supported"));
        }
        let role = role.map_or("", |role| role.name.as_str());
        let device = DeviceId(bid.device_id);
        match &self.member {
            Some(member) if member.device.id != device => {
                return Err(Status::failed_precondition(
                    "a stream keeps the device of its first arbitration",
                ));
            }
            Some(member) if member.role != role => {
                return Err(Status::failed_precondition(
                    "a stream keeps the role of its first arbitration",
                ));
            }
            Some(_) => {}
            None => {
                self.member = Some(Member {
                    device: Arc::clone(self.shared.device(device)?),
                    role: role.to_owned(),
                });
            }
        }
        let Some(member) = &self.member else {
            return Ok(());
        };
        let election = election_id(bid.election_id.as_ref());
        let sender = self.sender.take();
        let primary = member.device.bid(role, self.id, election, sender)?;
        if !primary.is_empty() {
            // Writes of the old primary that were accepted are done before the new one hears that it is primary.
            let _turn = member.device.turn.lock().await;
            member.device.confirm(role, primary);
        }
        Ok(())
    }

    fn packet_out(&self, packet: &wire::PacketOut) -> Result<(), Status> {
        let primary = |member: &&Member| member.device.is_primary(&member.role, self.id);
        let member = self.member.as_ref().filter(primary).ok_or_else(|| {
            Status::permission_denied("only the primary controller may send packets")
        })?;
        let state = member
            .device
            .forwarding()
            .committed
            .ok_or_else(|| Status::failed_precondition("the switch has no pipeline yet"))?
            .state;
        if packet.payload.len() > HEAD_DATA + TAIL_SIZE {
            return Err(Status::invalid_argument("the packet is too large"));
        }
        let schema = state.program().schema().packet_out();
        let values = decode_packet_metadata(schema, &packet.metadata)
            .map_err(|error| Status::new(error.code(), error.to_string()))?;
        let metadata = schema.iter().map(|field| field.id).zip(values).collect();
        self.shared.workers.packet_out(PacketOut {
            device: member.device.id,
            metadata,
            packet: Packet::from_bytes(&packet.payload),
        })?;
        Ok(())
    }
}

fn stream_error(
    status: &Status,
    details: wire::stream_error::Details,
) -> wire::StreamMessageResponse {
    let error = wire::StreamError {
        canonical_code: Code::into(status.code()),
        message: status.message().to_owned(),
        space: String::new(),
        code: 0,
        details: Some(details),
    };
    wire::StreamMessageResponse {
        update: Some(Told::Error(error)),
    }
}
