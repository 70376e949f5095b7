//! A file's resources by REST: all of them or none, with prune, and never another topology.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::lab::{CHAIN, Lab, Reply};

const WAIT: [(&str, &str); 1] = [("prefer", "wait=10")];

fn sets(names: &[(&str, &str)]) -> Value {
    let mut sets = json!({});
    for (name, address) in names {
        sets[name] = json!({ "flows": [{
            "switch": "s1", "name": format!("of-{name}"), "priority": 5,
            "match": { "ipv4_dst": address }, "actions": ["drop"]
        }]});
    }
    json!({ "flowsets": sets })
}

async fn apply(lab: &Lab, query: &str, body: &Value) -> Reply {
    let headers = [WAIT[0], ("weft-manager", "file")];
    let path = format!("/v1/apply{query}");
    let request = super::lab::request("POST", &path, &headers, Some(body.clone()));
    lab.send(request).await
}

async fn apply_file(lab: &Lab, text: String) -> Reply {
    let request = Request::post("/v1/apply")
        .header("content-type", "application/yaml")
        .header("weft-manager", "file")
        .body(Body::from(text))
        .unwrap();
    lab.send(request).await
}

#[tokio::test]
async fn what_is_applied_is_complete_and_pruned() {
    let lab = Lab::up().await;
    let two = sets(&[("a", "10.0.0.1"), ("b", "10.0.0.2")]);
    let dry = apply(&lab, "?dryRun=true", &two).await.is(200);
    assert_eq!(
        dry["diff"],
        json!({ "add": 4, "change": 0, "remove": 0, "unchanged": 0 })
    );
    assert_eq!(lab.get("/v1/flowsets").await.is(200)["items"], json!([]));
    let applied = apply(&lab, "", &two).await.is(200);
    assert_eq!(applied["diff"], dry["diff"]);
    assert_eq!(applied["changes"], dry["changes"]);
    assert_eq!(
        applied["changes"][0],
        json!({ "collection": "flows", "switch": "s1", "name": "of-a", "change": "add" })
    );
    let set = lab.get("/v1/flowsets/a").await.is(200);
    assert_eq!(
        (&set["owner"], &set["status"]["phase"]),
        (&json!("file"), &json!("realized"))
    );
    let revision = |answer: &Value| answer["status"]["desiredRevision"].clone();
    // One revision for all of it.
    let other = lab.get("/v1/flowsets/b").await.is(200);
    assert_eq!(revision(&set), revision(&other));

    // The same again: no revision, no write.
    let written = lab.writes("s1");
    let again = apply(&lab, "", &two).await.is(200);
    assert_eq!(
        again["diff"],
        json!({ "add": 0, "change": 0, "remove": 0, "unchanged": 4 })
    );
    assert_eq!(
        (&again["changes"], &again["revision"]),
        (&json!([]), &applied["revision"])
    );
    assert_eq!(lab.writes("s1"), written);

    // Others' flows stay; what the file does not say any more goes, unless it shall not.
    let own = json!({ "match": { "vlan_vid": 7 }, "actions": ["drop"] });
    lab.put("/v1/switches/s1/flows/own", own.clone())
        .await
        .is(201);
    lab.put_with(
        "/v1/switches/s2/flows/stray",
        &[("weft-manager", "file")],
        own,
    )
    .await
    .is(201);
    let one = sets(&[("a", "10.0.0.9")]);
    let kept = apply(&lab, "?prune=false", &one).await.is(200);
    assert_eq!(
        kept["diff"],
        json!({ "add": 0, "change": 2, "remove": 0, "unchanged": 0 })
    );
    let pruned = apply(&lab, "", &one).await.is(200);
    assert_eq!(
        pruned["diff"],
        json!({ "add": 0, "change": 0, "remove": 3, "unchanged": 2 })
    );
    lab.get("/v1/flowsets/b").await.problem(404);
    lab.get("/v1/switches/s2/flows/stray").await.problem(404);
    lab.get("/v1/switches/s1/flows/own").await.is(200);
    assert_eq!(
        lab.get("/v1/switches/s1/diff").await.is(200)["inSync"],
        true
    );
}

#[tokio::test]
async fn one_mistake_applies_nothing() {
    let lab = Lab::without_switches().await;
    let mut wrong = sets(&[("a", "10.0.0.1"), ("b", "10.0.0.2")]);
    wrong["flowsets"]["b"]["flows"][0]["match"] = json!({ "ip_dst": "10.0.0.2" });
    let problem = apply(&lab, "", &wrong).await.problem(422);
    assert_eq!(
        problem["errors"][0]["pointer"],
        "/flowsets/b/flows/0/match/ip_dst"
    );
    lab.get("/v1/flowsets/a").await.problem(404);
    // Two sets that want the same place.
    let clash = sets(&[("a", "10.0.0.1"), ("b", "10.0.0.1")]);
    let problem = apply(&lab, "", &clash).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/flowsets/b/flows/0/match");
    for (body, pointer) in [
        (json!({ "flowset": {} }), "/flowset"),
        (json!({ "flowsets": [] }), "/flowsets"),
        (
            json!({ "flowsets": { "a b": { "flows": [] } } }),
            "/flowsets/a b",
        ),
        (json!([]), ""),
    ] {
        let problem = apply(&lab, "", &body).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
    // What another owner made is refused, and nothing of the rest is stored.
    lab.put("/v1/flowsets/b", json!({ "flows": [] }))
        .await
        .is(201);
    let two = sets(&[("a", "10.0.0.1"), ("b", "10.0.0.2")]);
    apply(&lab, "", &two).await.problem(409);
    lab.get("/v1/flowsets/a").await.problem(404);
    apply(&lab, "?force=true", &two).await.is(202);
    assert_eq!(lab.get("/v1/flowsets/b").await.is(200)["owner"], "file");
}

#[tokio::test]
async fn a_file_keeps_its_topology() {
    let lab = Lab::up().await;
    let set = "flowsets: { a: { flows: [{ switch: s1, name: f, actions: [drop] }] } }\n";
    let applied = apply_file(&lab, format!("{CHAIN}{set}")).await.is(200);
    assert_eq!(applied["diff"]["add"], 2);
    let more = CHAIN.replace("    right:", "    extra: { kind: host }\n    right:");
    let problem = apply_file(&lab, format!("{more}{set}")).await.problem(422);
    let said = problem["errors"].to_string();
    assert!(said.contains("host extra is new"), "{said}");
    let slower = CHAIN.replace("{ name: last,", "{ name: last, metric: 4,");
    let problem = apply_file(&lab, format!("{slower}{set}"))
        .await
        .problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/topology/links");
    assert!(
        problem["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("link last is another")
    );
    let problem = apply_file(&lab, "nonsense: [".to_owned())
        .await
        .problem(422);
    assert_eq!(problem["errors"][0]["code"], "malformed");
    lab.get("/v1/flowsets/a").await.is(200);
}
