//! `weft trace` on a running lab: it blames the flow that drops, and foretells the path that packets take.

use std::fmt::Write as _;

use serde_json::{Value, json as body};
use weft_tests::{Lab, can_build_labs, json, text, topology, weft};

fn put(lab: &Lab, switch: &str, name: &str, flow: &Value) {
    let path = format!("/v1/switches/{switch}/flows/{name}");
    let flow = flow.to_string();
    let answer = lab.weft(
        "api",
        ["-X", "PUT", "-H", "Prefer: wait=5", &path, "-d", &flow],
    );
    assert_eq!(json(&answer)["status"]["phase"], "realized");
}

fn delete(lab: &Lab, switch: &str, name: &str) {
    let path = format!("/v1/switches/{switch}/flows/{name}");
    let answer = lab.weft("api", ["-X", "DELETE", "-H", "Prefer: wait=5", &path]);
    assert!(answer.status.success(), "{}", text(&answer));
}

/// The entries that matched in a lab that is all from its file, and whose cause has no place there.
fn places(trace: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let tables = list(&trace["hops"])
        .into_iter()
        .flat_map(|hop| list(&hop["tables"]));
    let causes = tables.map(|table| table["entry"]["cause"].clone());
    let known = causes.filter(|cause| !cause.is_null());
    // The built-in network itself stands nowhere.
    let placed = |cause: &Value| cause["kind"] == "network" || cause["line"].as_u64().is_some();
    known
        .filter(|cause| !placed(cause))
        .map(|cause| cause.to_string())
        .collect()
}

fn way(trace: &Value) -> Vec<&str> {
    let hops = trace["hops"].as_array().map_or(&[][..], Vec::as_slice);
    hops.iter()
        .filter_map(|hop| hop["switch"].as_str())
        .collect()
}

#[test]
fn a_trace_blames_the_flow_and_foretells_the_path() {
    if !can_build_labs("a_trace_blames_the_flow") {
        return;
    }
    let lab = Lab::up(&topology("manual-flows"), "trace");
    for (switch, one, other) in [
        ("s1", "host", "east"),
        ("s2", "west", "east"),
        ("s3", "west", "host"),
    ] {
        for (name, from, to) in [("there", one, other), ("back", other, one)] {
            let flow = body!({ "priority": 10, "match": { "in_port": from }, "actions": [{ "output": to }] });
            put(&lab, switch, name, &flow);
        }
    }
    let no_web = body!({ "priority": 20, "match": { "tcp_dst": 443 }, "actions": ["drop"] });
    put(&lab, "s2", "no-web", &no_web);

    let ask = ["left", "right", "--proto", "tcp", "--dport", "443"];
    let [from, to, proto, tcp, dport, port] = ask;
    let trace = || json(&lab.weft("trace", ["-o", "json", from, to, proto, tcp, dport, port]));
    let stopped = trace();
    assert_eq!(stopped["verdict"], "dropped", "{stopped:#}");
    assert_eq!(stopped["at"]["switch"], "s2");
    let cause = &stopped["cause"];
    assert_eq!(
        (&cause["kind"], &cause["name"]),
        (&body!("flow"), &body!("no-web"))
    );
    assert_eq!(way(&stopped), ["s1", "s2"]);
    let reason = stopped["reason"].as_str().unwrap();

    // The switch counts real packets under the same reason; the trace was none.
    let drops = || {
        let port = lab.get("/v1/switches/s2/ports/west");
        port["counters"]["drops"][reason].as_u64().unwrap_or(0)
    };
    assert_eq!(drops(), 0);
    let call = "exec 3<>/dev/tcp/10.9.0.2/443";
    lab.exec("left", ["timeout", "0.5", "bash", "-c", call]);
    assert!(drops() > 0, "nothing was dropped as {reason}");

    let table = lab.weft("trace", ask);
    assert!(table.status.success(), "{}", text(&table));
    let shown = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(
        shown.contains("flow no-web") && shown.contains(reason),
        "{shown}"
    );

    delete(&lab, "s2", "no-web");
    let there = trace();
    assert_eq!(there["verdict"], "delivered", "{there:#}");
    assert_eq!(there["at"]["host"], "right");
    assert_eq!(way(&there), ["s1", "s2", "s3"]);

    // Live, it is the same for a real packet.
    let live = std::thread::scope(|scope| {
        let live = scope.spawn(|| {
            let ask = [
                "-o", "json", from, to, "--proto", "icmp", "--live", "--within", "20s",
            ];
            json(&lab.weft("trace", ask))
        });
        while !live.is_finished() {
            lab.exec("left", ["ping", "-c", "1", "-W", "1", "10.9.0.2"]);
        }
        live.join().unwrap()
    });
    assert_eq!(live["verdict"], "delivered", "{live:#}");
    assert_eq!(way(&live), ["s1", "s2", "s3"]);
    assert_eq!(live["diverged"], Value::Null, "{live:#}");

    let unknown = lab.weft("trace", ["left", "rihgt"]);
    assert!(!unknown.status.success());
    assert!(text(&unknown).contains("right"), "{}", text(&unknown));
}

#[test]
fn packets_take_the_paths_that_traces_foretold() {
    if !can_build_labs("packets_take_the_paths") {
        return;
    }
    let source = topology("leaf-spine");
    let text_of_file = std::fs::read_to_string(&source).unwrap();
    let (nodes, _) = text_of_file.split_once("\ntests:").unwrap();
    let mut foretold = format!("{nodes}\ntests:\n");
    let lab = Lab::up(&source, "foretold");
    for (from, to) in [
        ("h1", "h5"),
        ("h1", "h6"),
        ("h1", "h7"),
        ("h2", "h8"),
        ("h3", "h8"),
        ("h4", "h7"),
    ] {
        let trace = json(&lab.weft("trace", ["-o", "json", from, to]));
        assert_eq!(trace["verdict"], "delivered", "{trace:#}");
        assert_eq!(trace["at"]["host"], to, "{trace:#}");
        assert_eq!(places(&trace), Vec::<String>::new(), "{trace:#}");
        let way = way(&trace);
        writeln!(
            foretold,
            "  - name: {from} to {to}\n    ping: {{ from: {from}, to: {to} }}\n    \
             expect: {{ loss: 0%, path: {{ exact: [{from}, {}, {to}] }} }}",
            way.join(", ")
        )
        .unwrap();
    }
    // MAC addresses follow from the lab's name, and the choice among equal paths from them.
    let name = lab.name().to_owned();
    drop(lab);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("foretold.yaml");
    std::fs::write(&file, foretold).unwrap();
    let tested = weft([
        "test".as_ref(),
        file.as_os_str(),
        "--name".as_ref(),
        name.as_ref(),
    ]);
    assert!(tested.status.success(), "{}", text(&tested));
}
