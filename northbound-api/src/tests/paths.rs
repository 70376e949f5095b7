//! Paths through the graph.

use axum::body::Body;
use serde_json::{Value, json};

use super::lab::{Lab, Reply, request};

async fn ask(lab: &Lab, question: Value) -> Reply {
    let (parts, _) = request(
        "POST",
        "/v1/paths",
        &[("content-type", "application/json")],
        None,
    )
    .into_parts();
    lab.send(axum::http::Request::from_parts(
        parts,
        Body::from(question.to_string()),
    ))
    .await
}

#[tokio::test]
async fn paths_are_found_and_their_absence_is_explained() {
    let lab = Lab::up().await;
    let found = ask(&lab, json!({ "from": "s1", "to": "s3" })).await.is(200);
    assert_eq!(found["paths"][0]["nodes"], json!(["s1", "s2", "s3"]));
    assert_eq!(
        found["paths"][0]["links"],
        json!(["s1:east--s2:west", "last"])
    );
    assert_eq!(found["paths"][0]["cost"], 2);

    let none = ask(
        &lab,
        json!({ "from": "s1", "to": "s3", "constraints": { "avoid": ["s2"] } }),
    )
    .await
    .is(200);
    assert_eq!(none["paths"], json!([]));
    assert_eq!(none["blockedBy"][0]["constraint"], "avoid");

    lab.patch("/v1/links/last", json!({ "state": "down" }))
        .await
        .is(200);
    let none = ask(&lab, json!({ "from": "s1", "to": "s3" })).await.is(200);
    assert_eq!(none["paths"], json!([]));
    assert_eq!(none["blockedBy"][0]["constraint"], "linkDown");
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let lab = Lab::without_switches().await;
    for (question, pointer, meant) in [
        (json!({ "from": "s1", "to": "s9" }), "/to", None),
        (json!({ "from": "s1" }), "/to", None),
        (
            json!({ "from": "s1", "to": "s3", "selct": {} }),
            "/selct",
            Some("select"),
        ),
        (
            json!({ "from": "s1", "to": "s3", "select": { "kind": "k", "k": 65 } }),
            "/select/k",
            None,
        ),
        (
            json!({ "from": "s1", "to": "s3", "select": { "kind": "disjont" } }),
            "/select/kind",
            Some("disjoint"),
        ),
        (
            json!({ "from": "s1", "to": "s3", "constraints": { "maxLatency": 5 } }),
            "/constraints/maxLatency",
            None,
        ),
        (
            json!({ "from": "s1", "to": "s3", "constraints": { "via": ["s2", "lefft"] } }),
            "/constraints/via/1",
            Some("left"),
        ),
    ] {
        let problem = ask(&lab, question.clone()).await.problem(422);
        let errors = problem["errors"].as_array().unwrap();
        let error = errors.iter().find(|error| error["pointer"] == pointer);
        let error = error.unwrap_or_else(|| panic!("{question}: {problem:#}"));
        if let Some(meant) = meant {
            assert_eq!(error["didYouMean"], meant, "{question}: {problem:#}");
        }
    }
}

#[test]
fn the_described_question_has_the_members_of_the_real_one() {
    use utoipa::PartialSchema;
    use weft_controller::spec::path::{PathAnswer, PathRequest};
    let described = serde_json::to_value(crate::routes::paths::PathQuestion::schema()).unwrap();
    let full: PathRequest = serde_json::from_value(json!({
        "from": "a", "to": "b",
        "select": { "kind": "disjoint", "k": 2, "level": "srlg" },
        "constraints": { "minBandwidth": "1gbit", "maxLatency": "5ms", "avoid": ["x"], "via": ["y"] },
    }))
    .unwrap();
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let mut real = serde_json::to_value(full).unwrap();
    let mut described = described["properties"].clone();
    for part in ["select", "constraints"] {
        assert_eq!(keys(&described[part]["properties"]), keys(&real[part]));
    }
    assert_eq!(keys(&described.take()), keys(&real.take()));
    let answer = serde_json::to_value(PathAnswer::default()).unwrap();
    assert_eq!(answer, json!({ "paths": [] }));
}
