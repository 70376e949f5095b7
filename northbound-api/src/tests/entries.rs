//! Raw table entries by REST: typed from P4Info, stored, on the switch, refused where they cannot be.

use serde_json::json;

use super::lab::Lab;

const ENTRIES: &str = "/v1/switches/s1/tables/flows/entries";
const ENTRY: &str = "/v1/switches/s1/tables/flows/entries/web";
const WAIT: [(&str, &str); 1] = [("prefer", "wait=10")];

fn body() -> serde_json::Value {
    json!({
        "priority": 90,
        "match": { "in_port": "host", "eth_type": 2048, "ipv4_dst": "10.20.7.9/16" },
        "action": { "name": "flow_output", "params": { "port": "east" } },
        "labels": { "app": "web" }
    })
}

#[tokio::test]
async fn an_entry_is_typed_stored_and_on_the_switch() {
    let lab = Lab::up().await;
    let answer = lab.put_with(ENTRY, &WAIT, body()).await;
    let mut entry = answer.is(201);
    assert_eq!(answer.header("location"), ENTRY);
    let status = entry["status"].take();
    assert_eq!(
        entry,
        json!({
            "name": "web", "table": "flows", "switch": "s1", "owner": "admin", "priority": 90,
            "match": { "in_port": "host", "eth_type": "0x0800", "ipv4_dst": "10.20.0.0/16" },
            "action": { "name": "flow_output", "params": { "port": "east" } },
            "labels": { "app": "web" }, "status": null,
        })
    );
    assert_eq!(
        (&status["phase"], &status["packets"]),
        (&json!("realized"), &json!(0))
    );
    let diff = lab.get("/v1/switches/s1/diff").await.is(200);
    assert_eq!(
        (&diff["counts"]["proper"], &diff["inSync"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(
        (&diff["proper"][0]["owner"], &diff["proper"][0]["name"]),
        (&json!("entry"), &json!("flows/web"))
    );

    // The same again, and what was answered: nothing happens.
    let written = lab.writes("s1");
    let again = lab.put(ENTRY, body()).await;
    again.is(200);
    assert_eq!(again.header("etag"), answer.header("etag"));
    let shown = lab.get(ENTRY).await.is(200);
    let again = lab.put(ENTRY, shown).await;
    again.is(200);
    assert_eq!(again.header("etag"), answer.header("etag"));
    assert_eq!(lab.writes("s1"), written);
    let list = lab
        .get(&format!("{ENTRIES}?selector=app=web"))
        .await
        .is(200);
    assert_eq!(list["items"][0]["name"], "web");
    assert_eq!(
        lab.get("/v1/switches/s1/flows").await.is(200)["items"],
        json!([])
    );

    let mut other = body();
    other["action"] = json!({ "name": "flow_drop" });
    let dry = lab
        .put(&format!("{ENTRY}?dryRun=true"), other.clone())
        .await
        .is(200);
    assert_eq!(
        dry["diff"],
        json!({ "add": 0, "change": 1, "remove": 0, "unchanged": 0 })
    );
    lab.put_with(ENTRY, &WAIT, other).await.is(200);
    assert_eq!(lab.writes("s1"), written + 1);
    lab.delete(ENTRY, &WAIT).await.is(204);
    lab.get(ENTRY).await.problem(404);
    let diff = lab.get("/v1/switches/s1/diff").await.is(200);
    assert_eq!(diff["counts"]["proper"], 0);
}

#[tokio::test]
async fn mistakes_have_pointers() {
    let lab = Lab::without_switches().await;
    let wrong = json!({
        "match": { "ip_dst": "10.0.0.1", "in_port": "west" },
        "action": { "name": "flow_output", "params": { "prot": 1 } }
    });
    let problem = lab.put(ENTRY, wrong).await.problem(422);
    let mistakes: Vec<_> = (problem["errors"].as_array().unwrap().iter())
        .map(|error| {
            let text = |key: &str| error[key].as_str().unwrap().to_owned();
            (text("pointer"), text("code"))
        })
        .collect();
    let expected = [
        ("/match/in_port", "no-such-port"),
        ("/match/ip_dst", "unknown-field"),
        ("/priority", "missing-field"),
        ("/action/params/prot", "unknown-field"),
        ("/action/params/port", "missing-field"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned()))
        .collect();
    assert_eq!(mistakes, expected);
    for (wrong, pointer) in [
        (json!({ "match": {}, "priority": 1 }), "/action"),
        (
            json!({ "match": {}, "priority": 0, "action": { "name": "flow_drop" } }),
            "/priority",
        ),
        (
            json!({ "match": {}, "priority": 1, "action": { "name": "drop" } }),
            "/action/name",
        ),
        (
            json!({ "match": {}, "priority": 1, "actionSet": [] }),
            "/actionSet",
        ),
        (json!({ "colour": 1 }), "/colour"),
    ] {
        let problem = lab.put(ENTRY, wrong).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    lab.put("/v1/switches/s1/tables/none/entries/x", body())
        .await
        .problem(404);
    lab.put("/v1/switches/s9/tables/flows/entries/x", body())
        .await
        .problem(404);
    assert_eq!(lab.get(ENTRIES).await.is(200)["items"], json!([]));
}

#[tokio::test]
async fn a_place_has_one_owner() {
    let lab = Lab::up().await;
    let flow = json!({ "priority": 89, "match": { "in_port": "host", "ipv4_dst": "10.20.0.0/16" }, "actions": ["drop"] });
    lab.put("/v1/switches/s1/flows/f", flow.clone())
        .await
        .is(201);
    // A flow's priority 89 is P4Runtime's 90.
    lab.put(ENTRY, body()).await.problem(409);
    lab.delete("/v1/switches/s1/flows/f", &WAIT).await.is(204);
    lab.put(ENTRY, body()).await.is(201);
    lab.put("/v1/switches/s1/flows/f", flow).await.problem(409);
    lab.put_with(ENTRY, &[("weft-manager", "other")], body())
        .await
        .problem(409);
    lab.delete(ENTRY, &[("weft-manager", "other")])
        .await
        .problem(409);
    lab.delete(ENTRY, &[("if-match", "\"r999\"")])
        .await
        .problem(412);
}
