//! Pipelines that users declare for switches.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost::Message as _;
use serde_json::{Value, json};
use weft_switch::program::Program;

use super::lab::{Lab, request};
use super::packets::receive;

const PATH: &str = "/v1/switches/s2/pipeline";
const WAIT: (&str, &str) = ("prefer", "wait=20");

/// What comes by one port leaves by another, as the table says; `reason` is why the rest is dropped.
fn source(reason: &str) -> Value {
    json!({
        "name": "wire",
        "version": "1",
        "headers": [],
        "instances": [],
        "parser": { "start": "start", "states": [{ "name": "start", "default": "accept" }] },
        "actions": [
            { "name": "send", "params": [{ "name": "port", "bits": 32, "format": "port" }],
              "ops": [{ "output": { "param": "port" } }] },
            { "name": "refuse", "ops": [{ "drop": reason }] },
        ],
        "tables": [{
            "name": "wires",
            "keys": [{ "name": "from", "value": { "field": "std.in_port" }, "kind": "exact", "format": "port" }],
            "actions": [{ "name": "send" }, { "name": "refuse" }],
            "defaultAction": { "action": "refuse" },
            "size": 8,
        }],
        "ingress": { "start": "wires", "nodes": [
            { "name": "wires", "kind": { "table": { "table": "wires" } } } ] },
        "deparser": [],
    })
}

/// What declares a pipeline.
fn body(source: &Value) -> Value {
    let program = Program::new(serde_json::from_value(source.clone()).unwrap()).unwrap();
    json!({
        "p4info": BASE64_STANDARD.encode(program.p4info().encode_to_vec()),
        "deviceConfig": source,
    })
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_declared_pipeline_runs_and_everything_follows_it() {
    let lab = Lab::up().await;
    let builtin = lab.get(PATH).await.is(200);
    assert_eq!(builtin["name"], "fabric");
    assert_eq!(builtin["declared"], false);
    assert_eq!(builtin["status"]["phase"], "realized");
    let flow = json!({ "match": { "in_port": "west" }, "actions": [{ "output": "east" }] });
    let flow_path = "/v1/switches/s2/flows/before";
    lab.put_with(flow_path, &[WAIT], flow.clone()).await.is(201);

    let reply = lab.put_with(PATH, &[WAIT], body(&source("unwired"))).await;
    let declared = reply.is(201);
    assert_eq!(declared["status"]["phase"], "realized", "{declared:#}");
    assert_eq!(names(&declared["tables"]), ["wires"]);
    assert_eq!(declared["deviceConfig"], source("unwired"));
    let etag = reply.header("etag").to_owned();
    let switch = lab.get("/v1/switches/s2").await.is(200);
    assert_eq!(switch["pipeline"], "wire");

    // Tables and their schema are the pipeline's; those of the fabric are gone.
    let schema = &declared["tables"][0]["schema"];
    assert_eq!(schema["properties"]["match"]["required"], json!(["from"]));
    lab.get("/v1/switches/s2/tables/flows/entries")
        .await
        .problem(404);
    let refused = lab
        .put("/v1/switches/s2/flows/after", flow)
        .await
        .problem(422);
    let detail = refused["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("no table for flows"), "{refused:#}");
    // The flow that was there fits no more; it says so, and is taken back as ever.
    let old = lab.get(flow_path).await.is(200);
    assert_eq!(old["status"]["phase"], "rejected", "{old:#}");

    let wire = |from, to| json!({ "match": { "from": from }, "action": { "name": "send", "params": { "port": to } } });
    for (from, to) in [("west", "host"), ("host", "west")] {
        let path = format!("/v1/switches/s2/tables/wires/entries/{from}");
        let entry = lab.put_with(&path, &[WAIT], wire(from, to)).await.is(201);
        assert_eq!(entry["status"]["phase"], "realized", "{entry:#}");
    }
    let diff = lab.get("/v1/switches/s2/diff").await.is(200);
    assert_eq!(diff["counts"]["proper"], 2, "{diff:#}");
    assert_eq!(diff["extra"], json!([]));

    // A frame from the controller by s1, through s2, to its host.
    let mid = lab.attach("s2");
    let payload = "02:00:00:00:00:01 02:00:00:00:00:02 88:b5 ab:cd";
    let packet = json!({ "switch": "s1", "port": "east", "payload": payload });
    let sent = request("POST", "/v1/packetOuts", &[], Some(packet));
    lab.send(sent).await.is(202);
    let frame = receive(&mid).await.expect("the frame came");
    assert_eq!(frame[12..], [0x88, 0xb5, 0xab, 0xcd]);

    // The same again changes nothing.
    let writes = lab.writes("s2");
    let reply = lab.put_with(PATH, &[WAIT], body(&source("unwired"))).await;
    reply.is(200);
    assert_eq!(reply.header("etag"), etag);
    assert_eq!(lab.writes("s2"), writes);
    // What was got can be put.
    let got = lab.get(PATH).await.is(200);
    lab.put(PATH, got).await.is(200);

    // Back to the built-in pipeline: the flow fits again, the entries do not.
    lab.delete(flow_path, &[WAIT]).await.is(204);
    lab.delete(PATH, &[WAIT, ("if-match", "\"r1\"")])
        .await
        .problem(412);
    lab.delete(PATH, &[WAIT, ("if-match", &etag)]).await.is(204);
    let builtin = lab.get(PATH).await.is(200);
    assert_eq!(builtin["name"], "fabric");
    assert_eq!(builtin["status"]["phase"], "realized");
    lab.delete(PATH, &[]).await.problem(404);
    let stray = "/v1/switches/s2/tables/wires/entries/west";
    let entry = lab.get(stray).await.is(200);
    assert_eq!(entry["status"]["phase"], "rejected");
    lab.delete(stray, &[WAIT]).await.is(204);
    lab.get(stray).await.problem(404);
}

#[tokio::test]
async fn another_pipeline_with_the_same_tables_keeps_the_entries() {
    let lab = Lab::up().await;
    lab.put_with(PATH, &[WAIT], body(&source("one")))
        .await
        .is(201);
    let entry = json!({ "match": { "from": "west" }, "action": { "name": "refuse" } });
    let path = "/v1/switches/s2/tables/wires/entries/a";
    lab.put_with(path, &[WAIT], entry).await.is(201);
    let writes = lab.writes("s2");
    let changed = lab
        .put_with(PATH, &[WAIT], body(&source("two")))
        .await
        .is(200);
    assert_eq!(changed["status"]["phase"], "realized", "{changed:#}");
    assert_eq!(lab.writes("s2"), writes, "the switch reconciled");
}

#[tokio::test]
async fn a_switch_that_refuses_a_pipeline_goes_on() {
    let lab = Lab::up().await;
    let flow = json!({ "match": { "in_port": "west" }, "actions": ["drop"] });
    lab.put_with("/v1/switches/s2/flows/f", &[WAIT], flow)
        .await
        .is(201);
    let mut bad = body(&source("unwired"));
    bad["deviceConfig"]["deparser"] = json!(["nothing"]);
    let refused = lab.put_with(PATH, &[WAIT], bad).await.is(201);
    assert_eq!(refused["status"]["phase"], "rejected", "{refused:#}");
    let conditions = refused["status"]["conditions"].as_array().unwrap();
    let rejected = conditions
        .iter()
        .find(|one| one["type"] == "Rejected")
        .unwrap();
    let words = rejected["detail"].as_str().unwrap();
    assert!(words.contains("nothing"), "the switch's words: {words}");
    // The built-in pipeline is in force, and is looked after.
    assert_eq!(refused["name"], "fabric");
    let flow = lab.get("/v1/switches/s2/flows/f").await.is(200);
    assert_eq!(flow["status"]["phase"], "realized");
    let flow = json!({ "match": { "in_port": "east" }, "actions": ["drop"] });
    let flow = lab
        .put_with("/v1/switches/s2/flows/g", &[WAIT], flow)
        .await
        .is(201);
    assert_eq!(flow["status"]["phase"], "realized");

    // One that it takes, then one that it refuses: the first stays.
    let good = lab
        .put_with(PATH, &[WAIT], body(&source("unwired")))
        .await
        .is(200);
    assert_eq!(good["status"]["phase"], "realized", "{good:#}");
    let mut bad = body(&source("unwired"));
    bad["deviceConfig"]["version"] = json!("2");
    let refused = lab.put_with(PATH, &[WAIT], bad).await.is(200);
    assert_eq!(refused["status"]["phase"], "rejected", "{refused:#}");
    assert_eq!(names(&refused["tables"]), ["wires"]);
    lab.delete(PATH, &[WAIT]).await.is(204);
    let flow = lab.get("/v1/switches/s2/flows/g").await.is(200);
    assert_eq!(flow["status"]["phase"], "realized", "{flow:#}");
}

#[tokio::test]
async fn mistakes_are_told_before_anything_is_stored() {
    let lab = Lab::up().await;
    let before = lab.get("/v1/topology").await.is(200)["revision"].clone();
    let good = body(&source("unwired"));
    for (change, pointer) in [
        (json!({ "p4info": "%" }), "/p4info"),
        (json!({ "p4info": 7 }), "/p4info"),
        (json!({ "deviceConfig": [] }), "/deviceConfig"),
        (json!({ "p4infos": "x" }), "/p4infos"),
    ] {
        let mut wrong = good.clone();
        for (name, value) in change.as_object().unwrap() {
            wrong[name] = value.clone();
        }
        let problem = lab.put(PATH, wrong).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
    lab.put("/v1/switches/nobody/pipeline", good.clone())
        .await
        .problem(404);
    let dry = format!("{PATH}?dryRun=true");
    lab.put(&dry, good.clone()).await.is(200);
    assert_eq!(lab.get("/v1/topology").await.is(200)["revision"], before);
    lab.put_with(PATH, &[("weft-manager", "ci")], good.clone())
        .await
        .is(201);
    lab.put(PATH, body(&source("other"))).await.problem(409);
    lab.delete(PATH, &[]).await.problem(409);
    lab.delete(&format!("{PATH}?force=true"), &[WAIT])
        .await
        .is(204);
}

#[tokio::test]
async fn no_path_leads_over_a_switch_with_a_pipeline_of_its_own() {
    let lab = Lab::up().await;
    let asked = json!({ "from": "s1", "to": "s3" });
    let ask = || request("POST", "/v1/paths", &[], Some(asked.clone()));
    let found = lab.send(ask()).await.is(200);
    assert_eq!(found["paths"].as_array().unwrap().len(), 1);
    lab.put_with(PATH, &[WAIT], body(&source("unwired")))
        .await
        .is(201);
    let found = lab.send(ask()).await.is(200);
    assert_eq!(found["paths"], json!([]), "{found:#}");
    lab.delete(PATH, &[WAIT]).await.is(204);
    let found = lab.send(ask()).await.is(200);
    assert_eq!(found["paths"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_pipeline_waits_for_a_switch_that_is_away() {
    let lab = Lab::without_switches().await;
    let stored = lab.put(PATH, body(&source("unwired"))).await.is(202);
    assert_eq!(stored["status"]["phase"], "accepted");
    lab.delete(PATH, &[]).await.is(202);
}
