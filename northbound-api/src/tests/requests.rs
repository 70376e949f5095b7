//! Requests that are wrong before their content is looked at.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::lab::{Lab, TOKEN, reply, request};

const FLOW: &str = "/v1/switches/s1/flows/f";

#[tokio::test]
async fn everything_but_health_wants_the_token() {
    let lab = Lab::without_switches().await;
    for (method, path) in [
        ("GET", "/v1/topology"),
        ("GET", "/v1/openapi.json"),
        ("GET", "/metrics"),
        ("GET", "/no/such/route"),
        ("PUT", FLOW),
        ("POST", "/v1/topology"),
    ] {
        for wrong in [
            None,
            Some("Bearer wrong"),
            Some("Basic s3cret"),
            Some("s3cret"),
            Some("Bearer s3cret2"),
        ] {
            let headers: Vec<_> = wrong
                .iter()
                .map(|value| ("authorization", *value))
                .collect();
            let answer = reply(lab.guarded(), request(method, path, &headers, None)).await;
            answer.problem(401);
            assert!(
                answer.header("www-authenticate").starts_with("Bearer"),
                "{method} {path}"
            );
        }
    }
    let headers = [("authorization", &*format!("bearer {TOKEN}"))];
    let answer = reply(
        lab.guarded(),
        request("GET", "/v1/topology", &headers, None),
    )
    .await;
    answer.is(200);
    let answer = reply(lab.guarded(), request("GET", "/v1/health/live", &[], None)).await;
    assert_eq!(answer.is(200), json!({ "status": "ok" }));
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    let lab = Lab::without_switches().await;
    assert_eq!(
        lab.get("/v1/flow").await.problem(404),
        json!({
            "type": "https://weft.dev/problems/not-found",
            "title": "There is no such thing",
            "status": 404,
            "detail": "there is no route /v1/flow",
            "errors": [],
        })
    );
    let answer = lab.send(request("POST", "/v1/topology", &[], None)).await;
    answer.problem(405);
    assert_eq!(answer.header("allow"), "GET,HEAD");
    let head = lab.send(request("HEAD", "/v1/nothing", &[], None)).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (404, ""));
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_problems() {
    let lab = Lab::without_switches().await;
    let put = |kind: Option<&'static str>, body: Vec<u8>| {
        let mut builder = Request::builder().method("PUT").uri(FLOW);
        if let Some(kind) = kind {
            builder = builder.header("content-type", kind);
        }
        lab.send(builder.body(Body::from(body)).unwrap())
    };
    let json = Some("application/json");
    for (kind, body, status) in [
        (json, b"".to_vec(), 400),
        (json, b"{".to_vec(), 400),
        (
            json,
            b"{\"actions\": [\"drop\"], \"actions\": []}".to_vec(),
            400,
        ),
        (json, b"\xff\xfe".to_vec(), 400),
        (json, vec![b'['; 65], 400),
        (json, vec![b'['; 4_000_000], 400),
        (
            Some("application/x-www-form-urlencoded"),
            b"{}".to_vec(),
            415,
        ),
        (Some("text/plain"), b"{}".to_vec(), 415),
        (Some("application/merge-patch+json"), b"{}".to_vec(), 415),
        (json, vec![b' '; 8 * 1024 * 1024 + 1], 413),
        (json, b"{}".to_vec(), 422),
        (json, b"[]".to_vec(), 422),
        (json, b"null".to_vec(), 422),
        (json, b"7".to_vec(), 422),
        (Some("application/json; charset=utf-8"), b"{}".to_vec(), 422),
        (None, b"{}".to_vec(), 422),
    ] {
        put(kind, body).await.problem(status);
    }
    let chunks = (0..9).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024 * 1024]));
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let streamed = Request::builder()
        .method("PUT")
        .uri(FLOW)
        .body(body)
        .unwrap();
    lab.send(streamed).await.problem(413);
    let patch = request("PATCH", FLOW, &[], None);
    let (mut parts, _) = patch.into_parts();
    parts.headers.insert(
        "content-type",
        "application/json-patch+json".parse().unwrap(),
    );
    let answer = lab.send(Request::from_parts(parts, Body::from("[]"))).await;
    answer.problem(415);
    assert_eq!(
        answer.header("accept-patch"),
        "application/merge-patch+json"
    );
    assert!(
        lab.handle
            .resources(weft_controller::resource::Kind::Flow, &[])
            .is_empty()
    );
}

#[tokio::test]
async fn parameters_that_do_not_exist_are_refused() {
    let lab = Lab::without_switches().await;
    let drop = || json!({ "actions": ["drop"] });
    let problem = lab
        .put(&format!("{FLOW}?dryrun=true"), drop())
        .await
        .problem(400);
    assert_eq!(
        problem["errors"],
        json!([{
            "pointer": "?dryrun",
            "code": "unknown-field",
            "detail": "there is no parameter dryrun",
            "didYouMean": "dryRun",
            "allowed": ["dryRun", "force"],
        }])
    );
    for query in ["dryRun=yes", "dryRun=true&dryRun=true", "%zz=1"] {
        lab.put(&format!("{FLOW}?{query}"), drop())
            .await
            .problem(400);
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=x",
        "selector==",
        "watch=sse",
        "limit=1&limit=2",
    ] {
        lab.get(&format!("/v1/flows?{query}")).await.problem(400);
    }
    lab.get("/v1/topology?x=1").await.problem(400);
    let wrong = lab.put_with(FLOW, &[("weft-manager", "a b")], drop()).await;
    wrong.problem(400);
    lab.get("/v1/switches/%ff").await.problem(400);
}

#[tokio::test]
async fn a_trace_id_of_the_caller_is_kept() {
    let lab = Lab::without_switches().await;
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traced = |parent: String| request("GET", "/nothing", &[("traceparent", &parent)], None);
    let answer = lab
        .send(traced(format!("00-{id}-00f067aa0ba902b7-01")))
        .await;
    assert_eq!(answer.json()["traceId"], id);
    for bad in [
        "",
        "00-xyz-1-1",
        &format!("00-{}-1-1", "0".repeat(32)),
        "\u{1f600}",
    ] {
        let Ok(value) = axum::http::HeaderValue::from_str(bad) else {
            continue;
        };
        let mut request = request("GET", "/nothing", &[], None);
        request.headers_mut().insert("traceparent", value);
        let answer = lab.send(request).await;
        assert_ne!(answer.json()["traceId"], bad);
        answer.problem(404);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_given_up() {
    let lab = Lab::without_switches().await;
    let body = Body::from_stream(futures_util::stream::pending::<
        Result<Vec<u8>, std::io::Error>,
    >());
    let stuck = Request::builder()
        .method("PUT")
        .uri(FLOW)
        .body(body)
        .unwrap();
    lab.send(stuck).await.problem(408);
}
