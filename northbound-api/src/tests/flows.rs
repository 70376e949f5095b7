//! Flows by REST: declared, answered, refused, and on the switch when the answer says so.

use serde_json::{Value, json};

use super::lab::Lab;

const FLOW: &str = "/v1/switches/s1/flows/web-in";
const WAIT: [(&str, &str); 1] = [("prefer", "wait=10")];

fn web() -> Value {
    json!({
        "priority": 100,
        "match": { "in_port": "host", "ipv4_dst": "10.20.0.0/16", "tcp_dst": 443 },
        "actions": [{ "set": { "ip_dscp": 18 } }, { "output": "east" }],
        "labels": { "app": "web" }
    })
}

#[tokio::test]
async fn a_flow_is_answered_in_normal_form_with_its_entries_and_status() {
    let lab = Lab::up().await;
    let answer = lab.put_with(FLOW, &WAIT, web()).await;
    let mut flow = answer.is(201);
    assert_eq!(answer.header("location"), FLOW);
    assert_eq!(answer.header("preference-applied"), "wait=10");
    let revision = answer.header("etag").trim_matches('"').to_owned();
    assert!(revision.starts_with('r'));
    assert_eq!(flow["status"]["desiredRevision"], revision);
    let params = flow["entries"][0]["action"]["params"].take();
    assert_eq!(
        (&params["ip_dscp"], &params["port"]),
        (&json!(18), &json!("east"))
    );
    let status = flow["status"].take();
    assert_eq!(
        flow,
        json!({
            "name": "web-in", "switch": "s1", "priority": 100,
            "match": {
                "in_port": "host", "eth_type": "0x0800", "ip_proto": 6,
                "ipv4_dst": "10.20.0.0/16", "tcp_dst": 443
            },
            "actions": [{ "set": { "ip_dscp": 18 } }, { "output": "east" }],
            "idleTimeout": "0s", "labels": { "app": "web" }, "owner": "admin",
            "entries": [{
                "table": "flows", "priority": 101,
                "match": {
                    "in_port": "host", "eth_type": "0x0800", "ip_proto": 6,
                    "ipv4_dst": "10.20.0.0/16", "tcp_dst": 443
                },
                "action": { "name": "flow_edit", "params": null },
            }],
            "status": null,
        })
    );
    assert_eq!(status["phase"], "realized");
    assert_eq!(
        (&status["packets"], &status["bytes"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(
        status["conditions"],
        json!([{ "type": "SwitchConnected", "status": true }])
    );
}

#[tokio::test]
async fn the_same_body_again_changes_nothing() {
    let lab = Lab::up().await;
    let first = lab.put_with(FLOW, &WAIT, web()).await;
    first.is(201);
    let writes = lab.writes("s1");
    let revision = lab.handle.revision();
    let stored = lab.get(FLOW).await.is(200);
    for body in [web(), stored] {
        let again = lab.put_with(FLOW, &WAIT, body).await;
        again.is(200);
        assert_eq!(again.header("etag"), first.header("etag"));
    }
    assert_eq!(
        (lab.writes("s1"), lab.handle.revision()),
        (writes, revision)
    );

    let mut other = web();
    other["priority"] = json!(101);
    let changed = lab.put_with(FLOW, &WAIT, other).await;
    changed.is(200);
    assert_ne!(changed.header("etag"), first.header("etag"));
}

#[tokio::test]
async fn conditions_of_a_request_are_kept() {
    let lab = Lab::up().await;
    let etag = lab.put(FLOW, web()).await.header("etag").to_owned();
    let with = |name: &'static str, value: String| {
        let lab = &lab;
        async move { lab.put_with(FLOW, &[(name, &value)], web()).await }
    };
    with("if-match", etag.clone()).await.is(200);
    with("if-match", "*".to_owned()).await.is(200);
    with("if-match", format!("\"r99999\", {etag}"))
        .await
        .is(200);
    let stale = with("if-match", "\"r99999\"".to_owned()).await;
    stale.problem(412);
    assert_eq!(stale.header("etag"), etag);
    with("if-match", "\"what\"".to_owned()).await.problem(412);
    with("if-none-match", "*".to_owned()).await.problem(412);
    let new = "/v1/switches/s1/flows/new";
    lab.put_with(new, &[("if-match", "*")], web())
        .await
        .problem(412);

    let same = lab
        .send(super::lab::request(
            "GET",
            FLOW,
            &[("if-none-match", &etag)],
            None,
        ))
        .await;
    assert_eq!((same.status.as_u16(), same.text.as_str()), (304, ""));
    assert_eq!(same.header("etag"), etag);
    let other = lab
        .send(super::lab::request(
            "GET",
            FLOW,
            &[("if-none-match", "\"r0\"")],
            None,
        ))
        .await;
    other.is(200);

    lab.delete(FLOW, &[("if-match", "\"r0\"")])
        .await
        .problem(412);
    assert_eq!(lab.delete(FLOW, &[("if-match", &etag)]).await.status, 204);
    lab.get(FLOW).await.problem(404);
    lab.delete(FLOW, &[]).await.problem(404);
}

#[tokio::test]
async fn wrong_flows_are_refused_in_full_and_nothing_is_stored() {
    let lab = Lab::up().await;
    let revision = lab.handle.revision();
    let body = json!({
        "match": { "ipv4_dts": "10.0.0.0/8", "tcp_dst": 70000 },
        "actions": [{ "output": "eats" }]
    });
    let mut problem = lab.put(FLOW, body).await.problem(422);
    let allowed = problem["errors"][0]["allowed"].take();
    assert!(allowed.as_array().unwrap().contains(&json!("ipv4_src")));
    assert_eq!(
        problem,
        json!({
            "type": "https://weft.dev/problems/invalid",
            "title": "The content is not valid",
            "status": 422,
            "detail": "3 mistakes",
            "errors": [
                {
                    "pointer": "/match/ipv4_dts",
                    "code": "unknown-field",
                    "detail": "table flows of s1 has no match field ipv4_dts",
                    "didYouMean": "ipv4_dst",
                    "allowed": null,
                },
                {
                    "pointer": "/match/tcp_dst",
                    "code": "too-wide",
                    "detail": "70000 does not fit into 16 bits: 0 to 65535",
                },
                {
                    "pointer": "/actions/0/output",
                    "code": "no-such-port",
                    "detail": "s1 has no port eats",
                    "didYouMean": "east",
                    "allowed": ["east", "host"],
                },
            ],
        })
    );
    for (body, pointer, meant) in [
        (
            json!({ "actions": ["drop"], "prioritty": 2 }),
            "/prioritty",
            json!("priority"),
        ),
        (
            json!({ "actions": ["drop"], "priority": 65536 }),
            "/priority",
            Value::Null,
        ),
        (
            json!({ "actions": ["drop"], "priority": -1 }),
            "/priority",
            Value::Null,
        ),
        (
            json!({ "actions": ["drop"], "idleTimeout": "30" }),
            "/idleTimeout",
            Value::Null,
        ),
        (json!({ "actions": "drop" }), "/actions", Value::Null),
        (
            json!({ "actions": ["drop"], "match": [] }),
            "/match",
            Value::Null,
        ),
        (
            json!({ "actions": ["drop"], "labels": { "a": 5 } }),
            "/labels/a",
            Value::Null,
        ),
        (
            json!({ "actions": ["drop"], "name": "other" }),
            "/name",
            json!("web-in"),
        ),
        (
            json!({ "actions": [{ "output": "east" }, { "set": { "eth_src": "02:00:00:00:00:01" } }] }),
            "/actions/1",
            Value::Null,
        ),
    ] {
        let problem = lab.put(FLOW, body.clone()).await.problem(422);
        let errors = problem["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{body}: {problem:#}");
        assert_eq!(errors[0]["pointer"], pointer, "{body}: {problem:#}");
        if !meant.is_null() {
            assert_eq!(errors[0]["didYouMean"], meant, "{body}: {problem:#}");
        }
    }
    let mut huge = web();
    huge["labels"]["app"] = json!("x".repeat(300 * 1024));
    let problem = lab.put(FLOW, huge).await.problem(422);
    assert_eq!(problem["errors"][0]["code"], "out-of-range");
    lab.put("/v1/switches/s9/flows/f", web()).await.problem(404);
    for name in ["a%20b", "%2e%2e", &"x".repeat(254), "%C3%BC"] {
        let problem = lab
            .put(&format!("/v1/switches/s1/flows/{name}"), web())
            .await
            .problem(422);
        assert_eq!(problem["errors"][0]["code"], "invalid-name");
    }
    assert_eq!(lab.get("/v1/flows").await.is(200)["items"], json!([]));
    assert_eq!(lab.handle.revision(), revision);
}

#[tokio::test]
async fn a_dry_run_tells_the_difference_and_stores_nothing() {
    let lab = Lab::up().await;
    let revision = lab.handle.revision();
    let dry = format!("{FLOW}?dryRun=true");
    let answer = lab.put(&dry, web()).await;
    let body = answer.is(200);
    assert_eq!(
        body["diff"],
        json!({ "add": 1, "change": 0, "remove": 0, "unchanged": 0 })
    );
    assert_eq!(body["match"]["ip_proto"], 6);
    assert_eq!(answer.header("etag"), "");
    lab.get(FLOW).await.problem(404);
    assert_eq!(lab.handle.revision(), revision);
    lab.put(&dry, json!({ "actions": [] })).await.problem(422);

    lab.put(FLOW, web()).await.is(201);
    assert_eq!(lab.put(&dry, web()).await.is(200)["diff"]["unchanged"], 1);
    assert_eq!(lab.delete(&dry, &[]).await.is(200)["diff"]["remove"], 1);
    lab.get(FLOW).await.is(200);
}

#[tokio::test]
async fn another_owner_is_refused_unless_forced() {
    let lab = Lab::up().await;
    lab.put_with(FLOW, &[("weft-manager", "ci")], web())
        .await
        .is(201);
    let mut mine = web();
    mine["priority"] = json!(7);
    let problem = lab.put(FLOW, mine.clone()).await.problem(409);
    assert_eq!(problem["type"], "https://weft.dev/problems/owned-by-other");
    lab.delete(FLOW, &[]).await.problem(409);
    let taken = lab.put(&format!("{FLOW}?force=true"), mine).await.is(200);
    assert_eq!(taken["owner"], "admin");

    // The same packets at the same priority, under another name and owner.
    let mut same = web();
    same["priority"] = json!(7);
    same["actions"] = json!(["drop"]);
    let other = "/v1/switches/s1/flows/other";
    let problem = lab
        .put_with(other, &[("weft-manager", "ci")], same)
        .await
        .problem(409);
    assert_eq!(problem["type"], "https://weft.dev/problems/conflict");
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let lab = Lab::up().await;
    lab.patch(FLOW, json!({ "priority": 5 })).await.problem(404);
    lab.put(FLOW, web()).await.is(201);
    let patched = lab
        .patch(
            FLOW,
            json!({ "priority": 5, "labels": { "app": null, "by": "me" } }),
        )
        .await
        .is(200);
    assert_eq!(
        (&patched["priority"], &patched["labels"]),
        (&json!(5), &json!({ "by": "me" }))
    );
    assert_eq!(patched["match"]["tcp_dst"], 443);
    let problem = lab
        .patch(FLOW, json!({ "match": { "tcp_dst": "x" } }))
        .await
        .problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/match/tcp_dst");
    lab.patch(FLOW, json!({ "actions": null }))
        .await
        .problem(422);
    lab.patch(FLOW, json!(null)).await.problem(422);
    assert_eq!(lab.get(FLOW).await.is(200)["priority"], 5);
}

#[tokio::test]
async fn flows_are_listed_by_switch_owner_and_label() {
    let lab = Lab::up().await;
    for (switch, name, owner, app) in [
        ("s1", "b", "ci", "web"),
        ("s1", "a", "admin", "db"),
        ("s2", "a", "ci", "db"),
    ] {
        let body = json!({ "priority": name.len(), "match": { "eth_type": if app == "db" { 1 } else { 2 } }, "actions": ["drop"], "labels": { "app": app } });
        let path = format!("/v1/switches/{switch}/flows/{name}");
        lab.put_with(&path, &[("weft-manager", owner)], body)
            .await
            .is(201);
    }
    let listed = |query: &'static str| {
        let lab = &lab;
        async move {
            let list = lab.get(&format!("/v1/{query}")).await.is(200);
            let items = list["items"].as_array().unwrap().clone();
            let name =
                |flow: &Value| format!("{}/{}", flow["switch"], flow["name"]).replace('"', "");
            items.iter().map(name).collect::<Vec<_>>()
        }
    };
    assert_eq!(listed("flows").await, ["s1/a", "s1/b", "s2/a"]);
    assert_eq!(listed("flows?owner=ci").await, ["s1/b", "s2/a"]);
    assert_eq!(listed("flows?switch=s1&selector=app%3Ddb").await, ["s1/a"]);
    assert_eq!(listed("flows?limit=1").await, ["s1/a"]);
    assert_eq!(listed("switches/s1/flows").await, ["s1/a", "s1/b"]);
    assert_eq!(listed("switches/s3/flows").await, [""; 0]);
}

#[tokio::test]
async fn a_switch_that_is_away_is_a_condition() {
    let lab = Lab::without_switches().await;
    let answer = lab.put_with(FLOW, &[("prefer", "wait=0")], web()).await;
    let flow = answer.is(202);
    assert_eq!(flow["status"]["phase"], "accepted");
    let away = &flow["status"]["conditions"][0];
    assert_eq!(
        (&away["type"], &away["status"]),
        (&json!("SwitchConnected"), &json!(false))
    );
    assert!(!answer.header("etag").is_empty());
    lab.get(FLOW).await.is(200);
    lab.delete(FLOW, &[]).await.is(202);
    lab.get(FLOW).await.problem(404);
}

#[tokio::test]
async fn a_deleted_flow_is_gone_from_the_switch() {
    let lab = Lab::up().await;
    lab.put_with(FLOW, &WAIT, web()).await.is(201);
    let used =
        || async { lab.get("/v1/switches/s1").await.is(200)["capacity"]["flows"]["used"].clone() };
    let before = used().await;
    assert_eq!(lab.delete(FLOW, &WAIT).await.status, 204);
    let after = used().await;
    assert_eq!(before.as_u64().unwrap() - 1, after.as_u64().unwrap());
}

#[tokio::test]
async fn a_flow_that_nothing_hits_for_its_idle_timeout_is_gone() {
    let lab = Lab::up().await;
    let left = lab.attach("s1");
    let path = "/v1/switches/s1/flows/short";
    // A port of TCP, of IPv4 and of IPv6: two entries, of which one is hit.
    let flow = json!({
        "priority": 3, "match": { "in_port": "host", "tcp_dst": 443 }, "actions": ["drop"],
        "idleTimeout": "300ms"
    });
    let made = lab
        .put_with(path, &[("prefer", "wait=10")], flow)
        .await
        .is(201);
    assert_eq!(made["idleTimeout"], "300ms");
    assert_eq!(made["entries"].as_array().unwrap().len(), 2, "{made:#}");
    let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 9, 0, 1], [10, 9, 0, 2], 64)
        .tcp(40_000, 443, 7, 1000);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"x").unwrap();
    // While it is hit it stays, for longer than its timeout.
    let mut every = tokio::time::interval(std::time::Duration::from_millis(30));
    for _ in 0..30 {
        every.tick().await;
        left.send(&frame);
    }
    assert_eq!(lab.get(path).await.status, 200);
    let gone = async {
        while lab.get(path).await.status != 404 {
            every.tick().await;
        }
    };
    tokio::time::timeout(super::lab::SOON, gone)
        .await
        .expect("it ends by itself");
    assert!(lab.handle.sync("s1", super::lab::SOON).await.unwrap());
    let diff = lab.get("/v1/switches/s1/diff").await.is(200);
    let found = (&diff["inSync"], &diff["counts"]["proper"]);
    assert_eq!(found, (&json!(true), &json!(0)), "{diff:#}");
}
