//! How fast a large lab is programmed. `WEFT_BRING_UP=100` makes it a hundred switches; it prints, and proves the count.

use std::fmt::Write as _;

use super::lab::{Lab, memory, writes};

/// Some core switches, edges meshed to them, two hosts at each edge.
fn topology(switches: usize) -> String {
    let cores = (switches / 10).max(1);
    let edges = switches - cores;
    let mut text = format!(
        "name: large\ntopology:\n  nodes:\n    core[1-{cores}]: {{ kind: switch }}\n    edge[1-{edges}]: {{ kind: switch }}\n"
    );
    writeln!(text, "    h[1-{}]: {{ kind: host }}", 2 * edges).unwrap();
    text.push_str("  links:\n    - mesh: ['core*', 'edge*']\n");
    for edge in 1..=edges {
        let (first, second) = (2 * edge - 1, 2 * edge);
        writeln!(
            text,
            "    - endpoints: ['h[{first}-{second}]:eth0', 'edge{edge}:h[1-2]']"
        )
        .unwrap();
    }
    text
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "measures")]
async fn a_large_lab_is_programmed_in_one_pass() {
    let switches = std::env::var("WEFT_BRING_UP")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20);
    let lab = Lab::new(&topology(switches));
    let start = std::time::Instant::now();
    let running = lab.ready_controller(memory()).await;
    let up = start.elapsed();
    let written = writes(&running.handle);
    let metrics = running.handle.metrics();
    let entries: usize = metrics
        .switches
        .values()
        .map(|status| status.desired_entries)
        .sum();
    println!("{switches} switches, {entries} entries, {written} writes: {up:?}");
    for status in metrics.switches.values() {
        // One read at most, and no pass but the first.
        assert_eq!(
            (
                status.totals.reconciles,
                status.totals.rejected,
                status.totals.connects
            ),
            (1, 0, 1)
        );
        assert!(status.totals.reads <= 1);
    }
    running.stop().await;
}
