//! What the core's tests share: a small router as a pipeline, entries by name, packets.

mod frames;
mod router;
mod short;

use std::sync::Arc;

use weft_proto::vocab::{
    ActionCall, DeviceId, EntryKey, FieldMatch, MulticastGroup, MulticastGroupId, PortNo, Replica,
    TableAction, TableEntry,
};

use crate::datapath::{Datapath, Emit, Nanos, Scratch};
use crate::ir::Pipeline;
use crate::packet::Packet;
use crate::ports::{PortInfo, PortSet};
use crate::program::Program;
use crate::state::State;

pub(crate) use frames::*;
pub(crate) use router::router;
pub(crate) use short::*;

/// The router's own address.
pub(crate) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xff];
/// Another host's.
pub(crate) const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) fn mac_bits(mac: [u8; 6]) -> u128 {
    mac.iter()
        .fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

/// A router with ports 1 to 4, and what it does to packets.
pub(crate) struct Bench {
    pub(crate) datapath: Datapath,
    pub(crate) scratch: Scratch,
    pub(crate) now: Nanos,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(router())
    }

    pub(crate) fn with(pipeline: Pipeline) -> Self {
        let program = Program::new(pipeline).unwrap();
        let port = PortInfo {
            mtu: 1500,
            up: true,
            is_l2: true,
        };
        Self {
            datapath: Datapath {
                device: DeviceId(1),
                state: State::new(Arc::new(program)),
                ports: (1..=4)
                    .map(|number| (PortNo(number), port))
                    .collect::<PortSet>(),
                salt: 7,
            },
            scratch: Scratch::default(),
            now: Nanos(1),
        }
    }

    /// An entry by names; arguments in the order of declaration.
    pub(crate) fn entry(
        &self,
        table: &str,
        matches: &[(&str, FieldMatch)],
        priority: i32,
        action: &str,
        args: &[u128],
    ) -> TableEntry {
        let schema = self.datapath.state.program().schema();
        let table = schema.table_by_name(table).unwrap();
        let matches = matches
            .iter()
            .map(|(name, found)| (table.field_by_name(name).unwrap().id, *found))
            .collect();
        TableEntry {
            key: EntryKey {
                table: table.id,
                matches,
                priority,
            },
            action: Some(TableAction::Call(self.call(action, args))),
            metadata: vec![],
            is_default: false,
            idle_timeout_ns: 0,
        }
    }

    pub(crate) fn call(&self, action: &str, args: &[u128]) -> ActionCall {
        let schema = self.datapath.state.program().schema();
        let action = schema.action_by_name(action).unwrap();
        let params = action.params.iter().zip(args);
        ActionCall {
            action: action.id,
            params: params.map(|(param, value)| (param.id, *value)).collect(),
        }
    }

    /// Installs an entry.
    pub(crate) fn install(
        &mut self,
        table: &str,
        matches: &[(&str, FieldMatch)],
        priority: i32,
        action: &str,
        args: &[u128],
    ) -> TableEntry {
        let entry = self.entry(table, matches, priority, action, args);
        self.datapath.state.insert(&entry).unwrap();
        entry
    }

    /// Everything to [`HOST_MAC`] leaves by a port.
    pub(crate) fn bridge_to(&mut self, port: u128) -> TableEntry {
        let dst = FieldMatch::Exact(mac_bits(HOST_MAC));
        self.install("bridge", &[("dst", dst)], 0, "forward", &[port])
    }

    pub(crate) fn group(&mut self, id: u32, replicas: &[(u32, u16)]) {
        let replicas = replicas.iter().map(|&(port, instance)| Replica {
            port: PortNo(port),
            instance,
        });
        let group = MulticastGroup {
            id: MulticastGroupId(id),
            replicas: replicas.collect(),
            metadata: vec![],
            ..MulticastGroup::default()
        };
        self.datapath.state.insert_group(&group).unwrap();
    }

    pub(crate) fn send(&mut self, port: u32, packet: Packet) -> Vec<Emit> {
        let mut out = Vec::new();
        self.datapath
            .process(&mut self.scratch, PortNo(port), packet, self.now, &mut out);
        out
    }

    /// Where copies went with which bytes; drops by name at port 0.
    pub(crate) fn sent(&mut self, port: u32, packet: Packet) -> Vec<(u32, Vec<u8>)> {
        let out = self.send(port, packet);
        let program = self.datapath.state.program();
        out.into_iter()
            .map(|emit| match emit {
                Emit::Port { port, packet } => (port.0, packet.to_vec()),
                Emit::PacketIn { packet, .. } => (PortNo::CPU.0, packet.to_vec()),
                Emit::Dropped { reason } => (0, program.drop_name(reason).as_bytes().to_vec()),
            })
            .collect()
    }

    /// The reason for which one packet is dropped, nothing else coming out.
    pub(crate) fn dropped(&mut self, port: u32, packet: Packet) -> String {
        match self.sent(port, packet).as_slice() {
            [(0, reason)] => String::from_utf8(reason.clone()).unwrap(),
            other => panic!("no drop: {other:?}"),
        }
    }

    /// The one packet that leaves.
    pub(crate) fn forwarded(&mut self, port: u32, packet: Packet) -> (u32, Packet) {
        match self.send(port, packet).pop() {
            Some(Emit::Port { port, packet }) => (port.0, packet),
            other => panic!("not forwarded: {other:?}"),
        }
    }
}
