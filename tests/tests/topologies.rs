//! Every file of `topologies/` proves itself with real packets, by the command that users run.

use serde_json::Value;
use weft_tests::{can_build_labs, has_programs, json, text, topology, weft};

/// Runs `weft test` on a file and returns its report.
fn run(name: &str, extra: &[&str]) -> Value {
    let lab = format!("{name}-{}-{}", extra.len(), std::process::id());
    let file = topology(name);
    let args = [
        "test",
        file.to_str()
            .expect("the repository lies under a UTF-8 path"),
        "--name",
        &lab,
        "-o",
        "json",
    ];
    let output = weft(args.iter().copied().chain(extra.iter().copied()));
    let report = json(&output);
    assert_eq!(report["topology"], name, "{}", text(&output));
    assert_eq!(report["mode"], "kernel");
    assert_eq!(report["totals"]["fail"], 0);
    assert_eq!(report["totals"]["skip"], 0);
    report
}

/// Runs a file as it is, and once more with offloads off at the egress, so that the kernel checks our checksums.
fn proves_itself(name: &str, cases: u64) {
    if !can_build_labs(name) {
        return;
    }
    let report = run(name, &[]);
    assert_eq!(report["totals"]["pass"], cases, "{report:#}");
    let report = run(name, &["--no-offloads"]);
    assert_eq!(report["totals"]["pass"], cases, "{report:#}");
}

#[test]
fn two_hosts() {
    proves_itself("two-hosts", 5);
}

#[test]
fn leaf_spine() {
    // 56 pairs, 2 single cases, 4 pairs and their spread, 4 pairs, 7 pages.
    proves_itself("leaf-spine", 56 + 2 + 5 + 4 + 7);
}

#[test]
fn manual_flows() {
    proves_itself("manual-flows", 1);
}

#[test]
fn ring() {
    proves_itself("ring", 12 + 2);
}

#[test]
fn ipv6() {
    // 20 pairs, 1 bridged, 4 routed, 6 to gateways, 6 and 2 replies, 3 pages, 1 refusal.
    proves_itself("ipv6", 20 + 1 + 4 + 6 + 6 + 2 + 3 + 1);
}

#[test]
fn tun_and_tap() {
    // 30 pairs, 20 over IPv6, 4 and 4 connections, 6 datagrams, 2 and 2 pages, 2 refusals.
    proves_itself("tun-and-tap", 30 + 20 + 4 + 4 + 6 + 2 + 2 + 2);
}

#[test]
fn dual_stack_mesh() {
    // All pairs in both families, then single cases.
    proves_itself("dual-stack-mesh", 42 + 42 + 2 + 2 + 2 + 2);
}

#[test]
fn two_labs() {
    proves_itself("two-labs", 2);
}

#[test]
fn user_programs() {
    if has_programs("user_programs", &["nginx", "iperf3", "curl"]) {
        proves_itself("user-programs", 6);
    }
}

#[test]
fn fat_tree_k4() {
    proves_itself("fat-tree-k4", 240 + 1 + 16 + 1);
}
