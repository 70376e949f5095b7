//! Flow sets by REST: complete, pruned, atomic, with mistakes where they are.

use serde_json::{Value, json};

use super::lab::Lab;

const SET: &str = "/v1/flowsets/chain";
const WAIT: [(&str, &str); 1] = [("prefer", "wait=10")];

fn flow(switch: &str, name: &str, address: &str) -> Value {
    json!({
        "switch": switch, "name": name, "priority": 5,
        "match": { "ipv4_dst": address }, "actions": ["drop"]
    })
}

fn names(answer: &Value) -> Vec<(String, String)> {
    let text = |flow: &Value, key: &str| flow[key].as_str().unwrap().to_owned();
    let items = answer["items"]
        .as_array()
        .or_else(|| answer["flows"].as_array());
    (items.unwrap().iter())
        .map(|flow| (text(flow, "switch"), text(flow, "name")))
        .collect()
}

#[tokio::test]
async fn a_set_is_complete_and_what_it_leaves_out_goes() {
    let lab = Lab::up().await;
    let three = json!({ "flows": [
        flow("s1", "a", "10.0.0.1"), flow("s1", "b", "10.0.0.2"), flow("s2", "a", "10.0.0.1")
    ]});
    let dry = lab
        .put(&format!("{SET}?dryRun=true"), three.clone())
        .await
        .is(200);
    assert_eq!(
        dry["diff"],
        json!({ "add": 3, "change": 0, "remove": 0, "unchanged": 0 })
    );
    lab.get(SET).await.problem(404);
    assert_eq!(lab.get("/v1/flows").await.is(200)["items"], json!([]));

    let made = lab.put_with(SET, &WAIT, three.clone()).await;
    assert_eq!(made.header("location"), SET);
    let set = made.is(201);
    assert_eq!(set["diff"]["add"], 3);
    assert_eq!(set["status"]["phase"], "realized");
    assert_eq!(
        set["changes"][0],
        json!({ "switch": "s1", "name": "a", "change": "add" })
    );
    let one = lab.get("/v1/switches/s1/flows/a").await.is(200);
    assert_eq!(
        (&one["flowSet"], &one["status"]["phase"]),
        (&json!("chain"), &json!("realized"))
    );
    // One revision for all of them.
    assert_eq!(
        one["status"]["desiredRevision"],
        set["status"]["desiredRevision"]
    );

    // The same again, and what was answered: nothing happens.
    let written = lab.writes("s1");
    for again in [three, lab.get(SET).await.is(200)] {
        let again = lab.put(SET, again).await;
        assert_eq!(
            again.is(200)["diff"],
            json!({ "add": 0, "change": 0, "remove": 0, "unchanged": 3 })
        );
        assert_eq!(again.header("etag"), made.header("etag"));
    }
    assert_eq!(lab.writes("s1"), written);

    // Its flows are changed through it only.
    lab.delete("/v1/switches/s1/flows/a", &[])
        .await
        .problem(409);
    let alone = json!({ "match": {}, "actions": ["drop"] });
    lab.put("/v1/switches/s1/flows/a", alone.clone())
        .await
        .problem(409);
    lab.put("/v1/switches/s1/flows/other", alone).await.is(201);

    // Two swap their matches, one goes, one comes.
    let next = json!({ "flows": [
        flow("s1", "a", "10.0.0.2"), flow("s1", "b", "10.0.0.1"), flow("s3", "c", "10.0.0.3")
    ]});
    let changed = lab.put_with(SET, &WAIT, next).await;
    let set = changed.is(200);
    assert_eq!(
        set["diff"],
        json!({ "add": 1, "change": 2, "remove": 1, "unchanged": 0 })
    );
    assert_ne!(changed.header("etag"), made.header("etag"));
    let expected = [("s1", "a"), ("s1", "b"), ("s3", "c")];
    let expected: Vec<_> = expected
        .iter()
        .map(|(switch, name)| ((*switch).to_owned(), (*name).to_owned()))
        .collect();
    assert_eq!(names(&set), expected);
    for switch in ["s1", "s2", "s3"] {
        let diff = lab
            .get(&format!("/v1/switches/{switch}/diff"))
            .await
            .is(200);
        assert_eq!(diff["inSync"], true, "{diff}");
    }
    assert_eq!(
        lab.get("/v1/flowsets").await.is(200)["items"][0]["name"],
        "chain"
    );
    lab.delete(SET, &[("if-match", made.header("etag"))])
        .await
        .problem(412);
    lab.delete(SET, &WAIT).await.is(204);
    lab.get(SET).await.problem(404);
    // A flow beside the set stays.
    let rest = names(&lab.get("/v1/flows").await.is(200));
    assert_eq!(rest, [("s1".to_owned(), "other".to_owned())]);
}

#[tokio::test]
async fn one_mistake_stores_nothing() {
    let lab = Lab::without_switches().await;
    let mut wrong = flow("s1", "d", "10.0.0.4");
    wrong["match"] = json!({ "ipv4_dst": "10.0.0.300" });
    let mut idle = flow("s1", "e", "10.0.0.5");
    idle["idleTimeout"] = "5s".into();
    let body = json!({ "flows": [
        flow("s1", "a", "10.0.0.1"), flow("s9", "a", "10.0.0.1"), flow("s1", "c", "10.0.0.1"), wrong, idle,
    ]});
    let problem = lab.put(SET, body).await.problem(422);
    let pointers: Vec<_> = (problem["errors"].as_array().unwrap().iter())
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(
        pointers,
        [
            "/flows/1/switch",
            "/flows/2/match",
            "/flows/3/match/ipv4_dst",
            "/flows/4/idleTimeout"
        ]
    );
    for (body, pointer) in [
        (json!({}), "/flows"),
        (json!({ "flows": 1 }), "/flows"),
        (json!([]), ""),
        (json!({ "flows": [], "prune": true }), "/prune"),
        (
            json!({ "flows": [{ "switch": "s1", "actions": [] }] }),
            "/flows/0/name",
        ),
        (json!({ "flows": [7] }), "/flows/0/switch"),
        (
            json!({ "flows": [flow("s1", "a", "10.0.0.1"), flow("s1", "a", "10.0.0.2")] }),
            "/flows/1/name",
        ),
    ] {
        let problem = lab.put(SET, body).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    lab.get(SET).await.problem(404);
    assert_eq!(lab.get("/v1/flows").await.is(200)["items"], json!([]));
    // Nothing is a set too; switches that are away are no mistake.
    lab.put(SET, json!({ "flows": [] })).await.is(201);
    lab.put(SET, json!({ "flows": [flow("s1", "a", "10.0.0.1")] }))
        .await
        .is(202);
}

#[tokio::test]
async fn what_others_declared_is_left_alone() {
    let lab = Lab::without_switches().await;
    let other = [("weft-manager", "other")];
    let single = json!({ "priority": 5, "match": { "ipv4_dst": "10.0.0.1" }, "actions": ["drop"] });
    lab.put_with("/v1/switches/s1/flows/a", &other, single)
        .await
        .is(202);
    // The same name, and the same match under another name.
    for name in ["a", "b"] {
        let body = json!({ "flows": [flow("s1", name, "10.0.0.1")] });
        lab.put(SET, body).await.problem(409);
    }
    lab.put(SET, json!({ "flows": [flow("s1", "c", "10.0.0.3")] }))
        .await
        .is(202);
    let body = json!({ "flows": [flow("s1", "c", "10.0.0.3")] });
    lab.put("/v1/flowsets/second", body).await.problem(409);
    lab.put_with(SET, &other, json!({ "flows": [] }))
        .await
        .problem(409);
    lab.delete(SET, &other).await.problem(409);
    lab.delete(SET, &[]).await;
    assert_eq!(names(&lab.get("/v1/flows").await.is(200)).len(), 1);
}
