//! One switch's forwarding: a packet and `now` in, packets and drops out.

use weft_proto::vocab::{DeviceId, PortNo};

use crate::drops::DropReason;
use crate::packet::{Packet, Pool};
use crate::ports::PortSet;
use crate::state::State;

/// Nanoseconds since a start that the driver chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

/// What became of a packet, or of one copy.
#[derive(Debug, PartialEq, Eq)]
pub enum Emit {
    /// It leaves by a port that exists and is up.
    Port {
        /// The port.
        port: PortNo,
        /// The packet.
        packet: Packet,
    },
    /// A copy for the primary controller.
    PacketIn {
        /// Metadata id, 1 and up in the order of [`crate::ir::Pipeline::packet_in`], and value.
        metadata: Vec<(u32, u128)>,
        /// The packet.
        packet: Packet,
    },
    /// It ended here.
    Dropped {
        /// Why.
        reason: DropReason,
    },
}

/// A worker's working memory: buffers that are reused from packet to packet.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Packet buffers. Drivers receive into them and recycle what they have sent.
    pub pool: Pool,
}

/// A switch as one worker sees it: immutable, replaced when something is published.
#[derive(Clone, Debug)]
pub struct Datapath {
    /// The switch.
    pub device: DeviceId,
    /// Entries and groups.
    pub state: State,
    /// Ports.
    pub ports: PortSet,
    /// Makes this switch's hashes differ from its neighbours'.
    pub salt: u64,
}

impl Datapath {
    /// Runs the pipeline over a packet that entered by `in_port`.
    pub fn process(
        &self,
        cx: &mut Scratch,
        in_port: PortNo,
        packet: Packet,
        now: Nanos,
        out: &mut Vec<Emit>,
    ) {
        let _ = (in_port, now);
        cx.pool.recycle(packet);
        out.push(Emit::Dropped {
            reason: DropReason::NO_VERDICT,
        });
    }

    /// Runs the pipeline over a packet from the controller; `metadata` are ids, 1 and up in the order of
    /// [`crate::ir::Pipeline::packet_out`], and values.
    pub fn packet_out(
        &self,
        cx: &mut Scratch,
        metadata: &[(u32, u128)],
        packet: Packet,
        now: Nanos,
        out: &mut Vec<Emit>,
    ) {
        let _ = metadata;
        self.process(cx, PortNo::CPU, packet, now, out);
    }
}
