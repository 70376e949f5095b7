//! Whatever is sent, the answer is no fault of ours, and an error is a problem document.

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use super::lab::Lab;

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "s1",
            "east",
            "host",
            "in_port",
            "tcp_dst",
            "ipv4_dst",
            "output",
            "set",
            "drop",
            "normal",
            "10.0.0.0/8",
            "443/0xff00",
            "02:00:00:00:00:01",
            "r1",
            "up",
            "10ms",
            "/",
            "~",
            "",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,12}",
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_text(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Something like a flow, or anything.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let flow = (any_json(), any_json(), prop::collection::vec(any_json(), 0..3)).prop_map(
        |(priority, matched, actions)| json!({ "priority": priority, "match": matched, "actions": actions }),
    );
    let fields = prop::collection::vec((any_text(), any_json()), 0..4).prop_map(|fields| {
        let fields: Map<_, _> = fields.into_iter().collect();
        json!({ "match": fields, "actions": [{ "set": fields }, { "output": "east" }] })
    });
    prop_oneof![
        flow.prop_map(|flow| flow.to_string().into_bytes()),
        fields.prop_map(|flow| flow.to_string().into_bytes()),
        any_json().prop_map(|value| value.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..64),
    ]
}

fn any_path() -> impl Strategy<Value = String> {
    let route = prop::sample::select(vec![
        "/v1/topology",
        "/v1/switches",
        "/v1/switches/s1",
        "/v1/switches/s1/ports/east",
        "/v1/switches/s1/flows/f",
        "/v1/switches/s1/flows",
        "/v1/flows",
        "/v1/links/last",
        "/v1/hosts/left",
        "/v1/paths",
        "/v1/switches/s1/pipeline",
        "/v1/openapi.json",
        "/",
    ]);
    let query = prop::collection::vec(
        (
            prop::sample::select(vec!["limit", "cursor", "selector", "dryRun", "force", "x"]),
            "[ -~]{0,8}",
        ),
        0..3,
    );
    (route, query, "[ -~]{0,6}", any::<bool>()).prop_map(|(route, query, tail, has_tail)| {
        let escape = |text: &str| {
            text.bytes()
                .map(|byte| format!("%{byte:02x}"))
                .collect::<String>()
        };
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", escape(value)))
            .collect();
        let tail = if has_tail {
            format!("/{}", escape(&tail))
        } else {
            String::new()
        };
        format!("{route}{tail}?{}", query.join("&"))
    })
}

#[test]
fn no_request_is_answered_by_a_fault() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let lab = runtime.block_on(Lab::without_switches());
    let methods = prop::sample::select(vec!["GET", "PUT", "PATCH", "DELETE", "POST", "HEAD"]);
    let headers = prop::collection::vec(
        (
            prop::sample::select(vec![
                "if-match",
                "if-none-match",
                "prefer",
                "weft-manager",
                "content-type",
                "traceparent",
            ]),
            prop_oneof![
                prop::sample::select(vec!["*", "\"r1\"", "wait=0", "application/json"])
                    .prop_map(str::to_owned),
                "[ -~]{0,16}",
            ],
        ),
        0..3,
    );
    let requests = (methods, any_path(), headers, any_body());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 1000,
        ..ProptestConfig::default()
    });
    runner
        .run(&requests, |(method, path, headers, body)| {
            // Waiting is not what is tested here.
            let headers = headers
                .into_iter()
                .filter(|(_, value)| !value.contains("wait=") || value == "wait=0");
            let mut request = Request::builder()
                .method(method)
                .uri(path)
                .body(Body::from(body))
                .unwrap();
            for (name, value) in headers {
                request
                    .headers_mut()
                    .insert(name, HeaderValue::from_str(&value).unwrap());
            }
            let reply = runtime.block_on(lab.send(request));
            prop_assert!(reply.status.as_u16() < 500, "{:?}", reply);
            if reply.status.is_client_error() {
                prop_assert_eq!(reply.header("content-type"), "application/problem+json");
                if method != "HEAD" {
                    reply.problem(reply.status.as_u16());
                }
            }
            Ok(())
        })
        .unwrap();
}
