//! In the steady state a packet costs no allocation.

#[path = "../benches/pipeline/edge.rs"]
mod edge;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use weft_proto::vocab::PortNo;
use weft_switch::datapath::{Emit, Nanos, Scratch};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn nothing_is_allocated_for_a_packet_that_leaves_by_one_port() {
    let datapath = edge::datapath();
    let mut cx = Scratch::default();
    let mut out = Vec::new();
    for (what, port, frame) in edge::CASES {
        let frames: Vec<_> = (0..64).map(frame).collect();
        let mut pass = || {
            let mut sent = 0;
            for frame in &frames {
                let packet = cx.pool.packet(frame);
                datapath.process(&mut cx, PortNo(port), packet, Nanos(0), &mut out);
                for emit in out.drain(..) {
                    if let Emit::Port { packet, .. } = emit {
                        sent += 1;
                        cx.pool.recycle(packet);
                    }
                }
            }
            sent
        };
        // The first pass fills the pool and gives buffers their sizes.
        pass();
        let region = Region::new(GLOBAL);
        let sent = (0..100).map(|_| pass()).sum::<usize>();
        let change = region.change();
        assert_eq!(sent, 6400, "{what}");
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{what}");
    }
}
