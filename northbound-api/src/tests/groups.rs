//! Groups and meters by REST: typed, referred to, on the switch, and what packets make of them.

use std::time::Duration;

use etherparse::PacketBuilder;
use serde_json::{Value, json};
use weft_switch::port::MemoryPort;

use super::lab::Lab;

const GROUP: &str = "/v1/switches/s2/groups/g1";
const METER: &str = "/v1/switches/s2/meters/gold";
const FLOW: &str = "/v1/switches/s2/flows/spread";
const WAIT: [(&str, &str); 1] = [("prefer", "wait=10")];
/// Long enough for a packet that comes.
const SOON: Duration = Duration::from_secs(5);
/// Long enough for one that should not have come.
const BRIEF: Duration = Duration::from_millis(50);
/// How long one look at a port takes where nothing comes.
const TICK: Duration = Duration::from_millis(1);

fn select() -> Value {
    json!({
        "kind": "select", "hash": ["ipv4_src", "ipv4_dst", "ip_proto", "l4"],
        "buckets": [{ "output": "host", "weight": 3, "watchPort": true }, { "output": "east" }],
    })
}

fn to_group() -> Value {
    json!({ "priority": 5, "match": { "in_port": "west" }, "actions": [{ "group": "g1" }] })
}

/// The way from `left` to the second switch, and from there to `right`.
async fn ways(lab: &Lab) {
    for (switch, from, to) in [("s1", "host", "east"), ("s3", "west", "host")] {
        let path = format!("/v1/switches/{switch}/flows/way");
        let flow = json!({ "match": { "in_port": from }, "actions": [{ "output": to }] });
        lab.put_with(&path, &WAIT, flow).await.is(201);
    }
}

/// A datagram of one of many conversations.
fn datagram(conversation: u16, payload: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 9, 0, 1], [10, 9, 0, 2], 64)
        .udp(20_000 + conversation, 53);
    let mut frame = Vec::new();
    builder.write(&mut frame, &vec![7; payload]).unwrap();
    frame
}

/// How many frames come by each port: `expected` in all, and none after them.
fn count<const N: usize>(ports: [&MemoryPort; N], expected: usize) -> [usize; N] {
    let mut counts = [0; N];
    let mut patience = SOON;
    while counts.iter().sum::<usize>() < expected && !patience.is_zero() {
        let before = counts;
        for (count, port) in counts.iter_mut().zip(ports) {
            *count += std::iter::from_fn(|| port.receive(TICK)).count();
        }
        if counts == before {
            patience = patience.saturating_sub(TICK);
        }
    }
    for (count, port) in counts.iter_mut().zip(ports) {
        *count += std::iter::from_fn(|| port.receive(BRIEF)).count();
    }
    counts
}

#[tokio::test]
async fn a_group_is_stored_shown_and_kept_while_flows_use_it() {
    let lab = Lab::up().await;
    let problem = lab.put(FLOW, to_group()).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/actions/0/group");
    assert_eq!(problem["errors"][0]["code"], "no-such-reference");

    let dry = lab.put(&format!("{GROUP}?dryRun=true"), select()).await;
    assert_eq!(dry.is(200)["diff"]["add"], 2);
    lab.get(GROUP).await.problem(404);
    let made = lab.put_with(GROUP, &WAIT, select()).await;
    assert_eq!(made.header("location"), GROUP);
    let group = made.is(201);
    assert_eq!(group["status"]["phase"], "realized", "{group:#}");
    assert_eq!(
        group["buckets"],
        json!([
            { "output": "host", "weight": 3, "watchPort": true },
            { "output": "east", "weight": 1, "watchPort": false },
        ])
    );
    assert_eq!(group["entries"].as_array().unwrap().len(), 2);
    let mut close = to_group();
    close["actions"][0]["group"] = json!("g11");
    let problem = lab.put(FLOW, close).await.problem(422);
    assert_eq!(problem["errors"][0]["didYouMean"], "g1");

    let flow = lab.put_with(FLOW, &WAIT, to_group()).await.is(201);
    assert_eq!(flow["status"]["phase"], "realized");
    assert_eq!(flow["actions"], json!([{ "group": "g1" }]));
    let problem = lab.delete(GROUP, &[]).await.problem(409);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("flow spread of s2")
    );

    // The same again, and what was answered: nothing happens.
    let written = lab.writes("s2");
    for again in [select(), lab.get(GROUP).await.is(200)] {
        let again = lab.put(GROUP, again).await;
        again.is(200);
        assert_eq!(again.header("etag"), made.header("etag"));
    }
    assert_eq!(lab.writes("s2"), written);
    let list = lab.get("/v1/switches/s2/groups").await.is(200);
    assert_eq!(list["items"][0]["name"], "g1");
    assert_eq!(
        lab.get("/v1/switches/s1/groups").await.is(200)["items"],
        json!([])
    );
    let diff = lab.get("/v1/switches/s2/diff").await.is(200);
    assert_eq!(diff["inSync"], true, "{diff:#}");
    let owners: Vec<_> = (diff["proper"].as_array().unwrap().iter())
        .map(|place| {
            (
                place["owner"].as_str().unwrap(),
                place["name"].as_str().unwrap(),
            )
        })
        .collect();
    assert!(owners.contains(&("group", "g1")), "{owners:?}");

    // Another kind: the flow follows, its document stays.
    let before = lab.get(FLOW).await;
    lab.patch(GROUP, json!({ "kind": "all", "hash": null, "buckets": [{ "output": "host" }, { "output": "east" }] }))
        .await
        .is(200);
    let after = lab.get(FLOW).await;
    assert_eq!(before.header("etag"), after.header("etag"));
    assert_ne!(before.is(200)["entries"], after.is(200)["entries"]);
    lab.put_with(
        "/v1/switches/s2/flows/probe",
        &WAIT,
        json!({ "match": { "vlan_vid": 9 }, "actions": ["drop"] }),
    )
    .await
    .is(201);
    let diff = lab.get("/v1/switches/s2/diff").await.is(200);
    assert_eq!(diff["inSync"], true, "{diff:#}");

    lab.put(GROUP, to_group()).await.problem(422);
    lab.delete(GROUP, &[("weft-manager", "other")])
        .await
        .problem(409);
    lab.delete(FLOW, &WAIT).await.is(204);
    lab.delete(GROUP, &[("if-match", "\"r999\"")])
        .await
        .problem(412);
    lab.delete(GROUP, &WAIT).await.is(204);
    lab.get(GROUP).await.problem(404);
}

#[tokio::test]
async fn wrong_groups_and_meters_name_the_field() {
    let lab = Lab::without_switches().await;
    let bucket = json!({ "output": "host" });
    for (body, pointer, code) in [
        (
            json!({ "kind": "select", "buckets": [] }),
            "/buckets",
            "out-of-range",
        ),
        (json!({ "kind": "select" }), "/buckets", "missing-field"),
        (
            json!({ "kind": "some", "buckets": [bucket] }),
            "/kind",
            "unknown-value",
        ),
        (
            json!({ "kind": "select", "buckets": [{ "output": "nowhere" }] }),
            "/buckets/0/output",
            "no-such-port",
        ),
        (
            json!({ "kind": "select", "buckets": [{ "output": "host", "weight": 0 }] }),
            "/buckets/0/weight",
            "out-of-range",
        ),
        (
            json!({ "kind": "select", "buckets": [{ "output": "host", "weight": 5000 }] }),
            "/buckets",
            "out-of-range",
        ),
        (
            json!({ "kind": "failover", "buckets": [{ "output": "host", "weight": 2 }] }),
            "/buckets/0/weight",
            "conflict",
        ),
        (
            json!({ "kind": "all", "buckets": [{ "output": "host", "watchPort": true }] }),
            "/buckets/0/watchPort",
            "conflict",
        ),
        (
            json!({ "kind": "all", "buckets": [bucket, bucket] }),
            "/buckets/1/output",
            "duplicate",
        ),
        (
            json!({ "kind": "select", "buckets": [bucket], "hash": ["ip_src"] }),
            "/hash/0",
            "unknown-field",
        ),
        (
            json!({ "kind": "select", "buckets": [bucket], "hash": [] }),
            "/hash",
            "out-of-range",
        ),
        (
            json!({ "kind": "failover", "buckets": [bucket], "hash": ["l4"] }),
            "/hash",
            "conflict",
        ),
        (
            json!({ "kind": "select", "buckets": [bucket], "color": 1 }),
            "/color",
            "unknown-field",
        ),
    ] {
        let problem = lab.put(GROUP, body).await.problem(422);
        let error = &problem["errors"][0];
        assert_eq!(
            (&error["pointer"], &error["code"]),
            (&json!(pointer), &json!(code)),
            "{problem:#}"
        );
    }
    for (body, pointer, code) in [
        (json!({}), "/rate", "missing-field"),
        (json!({ "rate": 200 }), "/rate", "missing-unit"),
        (json!({ "rate": "200" }), "/rate", "missing-unit"),
        (json!({ "rate": "1bit" }), "/rate", "out-of-range"),
        (
            json!({ "rate": "1mbit", "burst": "100b" }),
            "/burst",
            "out-of-range",
        ),
        (
            json!({ "rate": "1mbit", "burst": 100 }),
            "/burst",
            "missing-unit",
        ),
        (
            json!({ "rate": "1mbit", "exceed": "mark" }),
            "/exceed",
            "unknown-value",
        ),
    ] {
        let problem = lab.put(METER, body).await.problem(422);
        let error = &problem["errors"][0];
        assert_eq!(
            (&error["pointer"], &error["code"]),
            (&json!(pointer), &json!(code)),
            "{problem:#}"
        );
    }
    lab.put("/v1/switches/s9/groups/g", select())
        .await
        .problem(404);
    lab.put("/v1/switches/s2/groups/..%2Fx", select())
        .await
        .problem(422);
    let flow = json!({ "match": {}, "actions": [{ "meter": "gold" }, { "output": "host" }] });
    let problem = lab.put(FLOW, flow).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/actions/0/meter");
}

#[tokio::test]
async fn a_select_group_spreads_by_weight_and_watches_ports() {
    let lab = Lab::up().await;
    let (left, mid, right) = (lab.attach("s1"), lab.attach("s2"), lab.attach("s3"));
    ways(&lab).await;
    lab.put_with(GROUP, &WAIT, select()).await.is(201);
    lab.put_with(FLOW, &WAIT, to_group()).await.is(201);
    let send = |conversations: u16| {
        for conversation in 0..conversations {
            left.send(&datagram(conversation, 16));
        }
        count([&mid, &right], conversations.into())
    };
    let [near, far] = send(400);
    assert_eq!(near + far, 400);
    // A share of three quarters; 400 draws stay within five standard deviations of it.
    assert!((255..=345).contains(&near), "{near} of 400");
    // The same conversations take the same way.
    assert_eq!(send(400), [near, far]);
    let counted = lab.get(FLOW).await.is(200);
    assert_eq!(counted["status"]["packets"], 800);

    // The port that is watched goes down: all of it takes the other.
    lab.patch("/v1/links/mid:eth0", json!({ "state": "down" }))
        .await
        .is(200);
    assert_eq!(send(100), [0, 100]);
    lab.patch("/v1/links/mid:eth0", json!({ "state": "up" }))
        .await
        .is(200);
    assert_eq!(send(400), [near, far]);
}

#[tokio::test]
async fn a_failover_group_takes_the_first_bucket_that_lives() {
    let lab = Lab::up().await;
    let (left, mid, right) = (lab.attach("s1"), lab.attach("s2"), lab.attach("s3"));
    ways(&lab).await;
    let group =
        json!({ "kind": "failover", "buckets": [{ "output": "host" }, { "output": "east" }] });
    let shown = lab.put_with(GROUP, &WAIT, group).await.is(201);
    assert_eq!(
        shown["buckets"][0],
        json!({ "output": "host", "watchPort": true })
    );
    lab.put_with(FLOW, &WAIT, to_group()).await.is(201);
    let send = || {
        for conversation in 0..20 {
            left.send(&datagram(conversation, 16));
        }
        count([&mid, &right], 20)
    };
    assert_eq!(send(), [20, 0]);
    lab.patch("/v1/links/mid:eth0", json!({ "state": "down" }))
        .await
        .is(200);
    assert_eq!(send(), [0, 20]);
    lab.patch("/v1/links/mid:eth0", json!({ "state": "up" }))
        .await
        .is(200);
    assert_eq!(send(), [20, 0]);
}

#[tokio::test]
async fn an_all_group_copies_after_edits() {
    let lab = Lab::up().await;
    let (left, mid, right) = (lab.attach("s1"), lab.attach("s2"), lab.attach("s3"));
    ways(&lab).await;
    let group = json!({ "kind": "all", "buckets": [{ "output": "host" }, { "output": "east" }] });
    let made = lab.put_with(GROUP, &WAIT, group).await.is(201);
    assert_eq!(
        made["groups"][0]["ports"],
        json!(["east", "host"]),
        "{made:#}"
    );
    let flow = json!({
        "match": { "in_port": "west" },
        "actions": [{ "set": { "ip_dscp": 18 } }, { "group": "g1" }]
    });
    lab.put_with(FLOW, &WAIT, flow).await.is(201);
    left.send(&datagram(1, 16));
    for port in [&mid, &right] {
        let copy = port.receive(SOON).expect("a copy each");
        assert_eq!(copy[15] >> 2, 18);
        assert_eq!(port.receive(BRIEF), None);
    }
}

#[tokio::test]
async fn a_meter_limits_what_its_flows_share() {
    let lab = Lab::up().await;
    let (left, mid) = (lab.attach("s1"), lab.attach("s2"));
    ways(&lab).await;
    // So slow that nothing is added while the test runs: ten frames pass, by their bytes.
    let meter = json!({ "rate": "8bit", "burst": "2kb" });
    let made = lab.put_with(METER, &WAIT, meter).await.is(201);
    assert_eq!(made["status"]["phase"], "realized", "{made:#}");
    assert_eq!(
        (&made["rate"], &made["burst"], &made["exceed"]),
        (&json!("8bit"), &json!("2kb"), &json!("drop"))
    );
    let flow = json!({
        "match": { "in_port": "west" }, "actions": [{ "meter": "gold" }, { "output": "host" }]
    });
    let made = lab.put_with(FLOW, &WAIT, flow.clone()).await.is(201);
    assert_eq!(made["actions"], flow["actions"]);
    // 158 bytes of payload and 42 of headers: 200 each.
    for _ in 0..25 {
        left.send(&datagram(1, 158));
    }
    assert_eq!(count([&mid], 10), [10]);
    let port = lab.get("/v1/switches/s2/ports/west").await.is(200);
    assert_eq!(port["counters"]["drops"]["meter"], 15, "{port:#}");

    let problem = lab.delete(METER, &[]).await.problem(409);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("flow spread of s2")
    );
    // More at once: what was used stays used, and the rest is new.
    lab.put_with(METER, &WAIT, json!({ "rate": "100mbit", "burst": "100kb" }))
        .await
        .is(200);
    for _ in 0..25 {
        left.send(&datagram(1, 158));
    }
    assert_eq!(count([&mid], 25), [25]);
    let diff = lab.get("/v1/switches/s2/diff").await.is(200);
    assert_eq!(diff["inSync"], true, "{diff:#}");
    let meter = (diff["proper"].as_array().unwrap().iter())
        .find(|place| place["owner"] == "meter")
        .expect("the meter is compared");
    assert_eq!(
        (&meter["name"], &meter["meter"]["rate"]),
        (&json!("gold"), &json!("100mbit"))
    );
    lab.delete(FLOW, &WAIT).await.is(204);
    lab.delete(METER, &WAIT).await.is(204);
    let diff = lab.get("/v1/switches/s2/diff").await.is(200);
    assert_eq!(
        (&diff["inSync"], &diff["counts"]["proper"]),
        (&json!(true), &json!(0)),
        "{diff:#}"
    );
}
