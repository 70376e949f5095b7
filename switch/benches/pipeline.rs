//! How fast the interpreter runs the built-in pipeline over memory packets, one core, no device. Prints packets per
//! second; asserts nothing about time.
//!
//! `cargo bench -p weft-switch --bench pipeline`

#[path = "pipeline/edge.rs"]
mod edge;

use std::fmt::Write as _;
use std::time::Instant;

use weft_proto::vocab::PortNo;
use weft_switch::datapath::{Datapath, Emit, Nanos, Scratch};

const PACKETS: u32 = 1_000_000;
const FLOWS: u16 = 1024;

fn main() {
    let datapath = edge::datapath();
    for (what, port, frame) in edge::CASES {
        measure(what, &datapath, port, frame);
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(what: &str, datapath: &Datapath, port: u32, frame: fn(u16) -> Vec<u8>) {
    let frames: Vec<Vec<u8>> = (0..FLOWS).map(frame).collect();
    let mut cx = Scratch::default();
    let mut out = Vec::new();
    let mut best = f64::MAX;
    let mut sent = 0_u64;
    for _ in 0..5 {
        let start = Instant::now();
        for at in 0..PACKETS {
            let frame = &frames[at as usize % frames.len()];
            let packet = cx.pool.packet(frame);
            datapath.process(&mut cx, PortNo(port), packet, Nanos(0), &mut out);
            for emit in out.drain(..) {
                if let Emit::Port { packet, .. } = emit {
                    sent += 1;
                    cx.pool.recycle(packet);
                }
            }
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    assert_eq!(
        sent,
        u64::from(PACKETS) * 5,
        "{what}: each packet leaves by a port"
    );
    let rate = f64::from(PACKETS) / best / 1e6;
    let mut line = String::new();
    let nanos = best * 1e9 / f64::from(PACKETS);
    let len = frames[0].len();
    let _ = writeln!(
        line,
        "{what:<30} {len:>4} B  {nanos:>6.0} ns  {rate:>6.2} Mpps"
    );
    let _ = std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes());
}
