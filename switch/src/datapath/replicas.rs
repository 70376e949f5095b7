//! What the replication engine makes of a packet: replicas with their backups, and the copies of clone sessions.

use std::collections::BTreeMap;

use weft_proto::vocab::{CloneSession, PortNo, Replica};

use super::{Counted, Datapath, Decided, Emit, Nanos, Scratch};
use crate::interp::Verdict;
use crate::observe::Observer;
use crate::packet::Packet;
use crate::segment;

impl Datapath {
    /// The replicas of a group or a session, each as itself or, while its port is down, as the first backup whose port is
    /// up. One that has none goes to its own port, where it is dropped and counted (P4Runtime §9.5.1, the second of
    /// the two recommended behaviours).
    pub(super) fn replicas<'r>(
        &'r self,
        replicas: &'r [Replica],
        backups: &'r BTreeMap<Replica, Vec<Replica>>,
    ) -> impl Iterator<Item = Replica> + 'r {
        let is_up = |port| port == PortNo::CPU || self.ports.is_up(port);
        replicas.iter().map(move |replica| {
            // Few have backups, so that is asked first.
            if backups.is_empty() || is_up(replica.port) {
                return *replica;
            }
            let mut others = backups.get(replica).into_iter().flatten();
            *others.find(|backup| is_up(backup.port)).unwrap_or(replica)
        })
    }

    /// Sends the copies of the clone sessions that ingress named; false where there are none.
    pub(super) fn clones<O: Observer>(
        &self,
        cx: &mut Scratch<O>,
        in_port: PortNo,
        packet: &Packet,
        now: Nanos,
        out: &mut Vec<Emit>,
    ) -> bool {
        let sessions = std::mem::take(&mut cx.clones);
        std::mem::swap(&mut cx.frame, &mut cx.held);
        let before = out.len();
        for session in &sessions {
            let Some(session) = self.state.session(*session) else {
                continue;
            };
            cx.observer.clones(Some(session.id));
            self.clone_to(cx, session, in_port, packet, now, out);
        }
        cx.observer.clones(None);
        std::mem::swap(&mut cx.frame, &mut cx.held);
        cx.clones = sessions;
        out.len() > before
    }

    /// Makes the copies of one session: each is the received packet, taken apart again, and runs egress.
    fn clone_to<O: Observer>(
        &self,
        cx: &mut Scratch<O>,
        session: &CloneSession,
        in_port: PortNo,
        packet: &Packet,
        now: Nanos,
        out: &mut Vec<Emit>,
    ) {
        let limit = match session.packet_length {
            0 => usize::MAX,
            length => length as usize,
        };
        let mut received = cx.pool.copy(packet);
        let mut excess = 0;
        if received.largest_segment() > limit {
            // What is cut has a checksum of all that was sent, and so none that is still to be finished.
            received = segment::first(received, self.is_l2(in_port), &mut cx.pool);
            excess = received.len() - limit;
        }
        // It has been parsed before; a segment of a super-packet has the same headers.
        if let Err(reason) = self.parse(&mut cx.frame, in_port, &[], &received) {
            cx.observer.dropped(reason);
            cx.pool.recycle(received);
            out.push(Emit::Dropped { reason });
            return;
        }
        let program = self.state.program();
        let uncounted = cx.frame.header_bytes(&program.layout, program.uncounted);
        let decided = Decided {
            verdict: Verdict::None,
            counted: Counted::of(&received, uncounted),
            rejected: None,
            fragment: None,
            excess,
            listed: true,
        };
        cx.saved.copy_from(&cx.frame);
        let replicas = self.replicas(&session.replicas, &session.backups);
        for replica in replicas {
            let copy = cx.pool.copy(&received);
            self.egress(cx, replica, copy, &decided, now, out);
            cx.frame.copy_from(&cx.saved);
        }
        cx.pool.recycle(received);
    }
}
