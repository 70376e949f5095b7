//! How long a lab takes to be ready, and to be gone. Prints medians; asserts nothing about time.
//!
//! `cargo build --release -p weft && cargo bench -p weft-tests --bench bring_up`

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use weft_tests::{can_build_labs, text, topology, weft};

const ROUNDS: usize = 5;

fn main() {
    if !can_build_labs("bring_up") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for generated files");
    let chain = folder.path().join("chain.yaml");
    std::fs::write(&chain, chain_of(100, 2)).expect("the folder is writable");
    let clos = folder.path().join("clos.yaml");
    std::fs::write(&clos, leaf_spine_of(4, 96, 200)).expect("the folder is writable");

    say(&format!(
        "{:<46} {:>8} {:>8} {:>8}",
        "lab (medians of 5, ms)", "up", "first", "down"
    ));
    measure(
        "fat-tree-k4: 20 switches, 16 hosts",
        &topology("fat-tree-k4"),
        ["h1", "h16"],
    );
    measure("chain: 100 switches, 200 hosts", &chain, ["h1-1", "h100-2"]);
    measure(
        "leaf-spine: 4 + 96 switches, 200 hosts",
        &clos,
        ["h1", "h200"],
    );
}

/// `first` is one ping from end to end right after `up`, process start included.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(label: &str, file: &Path, [from, to]: [&str; 2]) {
    let name = format!("bench-{}", std::process::id());
    let (mut ups, mut firsts, mut downs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let up = weft([
            "up".as_ref(),
            file.as_os_str(),
            "--detach".as_ref(),
            "--name".as_ref(),
            name.as_ref(),
        ]);
        ups.push(start.elapsed());
        assert!(up.status.success(), "{}", text(&up));

        let host = weft(["get", "--lab", &name, "hosts", to, "-o", "json"]);
        let host: serde_json::Value = serde_json::from_slice(&host.stdout).expect("a host is JSON");
        let address = host["addresses"][0]
            .as_str()
            .expect("a host has an address");
        let address = address
            .split('/')
            .next()
            .expect("an address has a first part");
        let start = Instant::now();
        let ping = weft([
            "exec", "--lab", &name, from, "--", "ping", "-c1", "-W1", address,
        ]);
        firsts.push(start.elapsed());
        assert!(
            ping.status.success(),
            "the first packet was lost: {}",
            text(&ping)
        );

        let start = Instant::now();
        let down = weft(["down", &name]);
        downs.push(start.elapsed());
        assert!(down.status.success(), "{}", text(&down));
    }
    say(&format!(
        "{label:<46} {:>8} {:>8} {:>8}",
        median(ups),
        median(firsts),
        median(downs)
    ));
}

fn median(mut times: Vec<Duration>) -> u128 {
    times.sort_unstable();
    times[times.len() / 2].as_millis()
}

fn chain_of(switches: usize, hosts: usize) -> String {
    let mut file = String::from("name: chain\ntopology:\n  nodes:\n");
    for switch in 1..=switches {
        let _ = writeln!(file, "    s{switch}: {{ kind: switch }}");
        for host in 1..=hosts {
            let _ = writeln!(
                file,
                "    h{switch}-{host}: {{ kind: host, attach: s{switch} }}"
            );
        }
    }
    file += "  links:\n";
    for switch in 1..switches {
        let _ = writeln!(
            file,
            "    - endpoints: [\"s{switch}:east\", \"s{}:west\"]",
            switch + 1
        );
    }
    file
}

fn leaf_spine_of(spines: usize, leaves: usize, hosts: usize) -> String {
    let mut file = format!(
        "name: clos\ntopology:\n  nodes:\n    spine[1-{spines}]: {{ kind: switch }}\n    leaf[1-{leaves}]: {{ kind: switch }}\n"
    );
    for host in 1..=hosts {
        let _ = writeln!(
            file,
            "    h{host}: {{ kind: host, attach: leaf{} }}",
            (host - 1) % leaves + 1
        );
    }
    file += "  links:\n    - mesh: [\"spine*\", \"leaf*\"]\n";
    file
}

#[expect(
    clippy::print_stdout,
    reason = "a benchmark's results go to standard output"
)]
fn say(line: &str) {
    println!("{line}");
}
