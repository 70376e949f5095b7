//! The committed OpenAPI document is the one that the routes give. `WEFT_REWRITE=1` writes it anew.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use weft_controller::flow::FlowSpec;

use super::lab::Lab;
use crate::openapi_json;

#[test]
fn the_committed_document_is_that_of_the_routes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let made = openapi_json();
    if std::env::var_os("WEFT_REWRITE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "docs/openapi.json is not what the routes give: run this test with WEFT_REWRITE=1"
    );
}

#[test]
fn every_route_is_described_with_its_answers() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{place} says nothing");
            let answers = operation["responses"].as_object().unwrap();
            assert!(
                answers.keys().any(|status| status.starts_with('2')),
                "{place}"
            );
            let needs_none = path.starts_with("/v1/health") || path == "/v1/openapi.json";
            assert!(
                needs_none || answers.contains_key("4XX"),
                "{place} has no problems"
            );
        }
    }
}

#[test]
fn the_described_flow_has_the_members_of_the_real_one() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let described = &document["components"]["schemas"]["FlowBody"]["properties"];
    let described: BTreeSet<_> = described.as_object().unwrap().keys().cloned().collect();
    let mut spec = FlowSpec::default();
    spec.labels.insert("a".to_owned(), "b".to_owned());
    let real = serde_json::to_value(spec).unwrap();
    let real: BTreeSet<_> = real.as_object().unwrap().keys().cloned().collect();
    assert_eq!(described, real);
}

#[tokio::test]
async fn it_is_served() {
    let lab = Lab::without_switches().await;
    let served = lab.get("/v1/openapi.json").await;
    assert_eq!(
        served.is(200),
        serde_json::from_str::<Value>(&openapi_json()).unwrap()
    );
    assert_eq!(served.header("content-type"), "application/json");
}
