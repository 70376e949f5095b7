//! The outermost layer: a trace id and one log line for each request, and a problem document for each error.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use crate::problem::{MEDIA_TYPE, Problem};

/// Most bytes of a plain error that become a problem's detail.
const DETAIL_LIMIT: usize = 4096;

pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let trace_id = trace_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", %method, path, trace_id);
    let response = next.run(request).instrument(span).await;
    let status = response.status();
    tracing::debug!(%method, path, trace_id, status = status.as_u16(), "request answered");
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let is_head = method == axum::http::Method::HEAD;
    complete(response, &trace_id, is_head).await
}

/// Gives an error its document. Errors that the framework made get one too.
async fn complete(response: Response, trace_id: &str, is_head: bool) -> Response {
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None if parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|t| t == "application/json") =>
        {
            return Response::from_parts(parts, body);
        }
        None => {
            let text = to_bytes(body, DETAIL_LIMIT).await.unwrap_or_default();
            Problem::of_status(parts.status, String::from_utf8_lossy(&text))
        }
    };
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    let json = serde_json::to_vec(&problem.document(trace_id)).unwrap_or_default();
    parts
        .headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    let body = if is_head { Body::empty() } else { json.into() };
    Response::from_parts(parts, body)
}

/// Answers a panic in a handler; the panic itself is in the log.
pub(crate) fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    Problem::of_status(
        StatusCode::INTERNAL_SERVER_ERROR,
        "a fault of ours; the log has more under this trace id",
    )
    .into_response()
}

/// The caller's trace id (W3C Trace Context), or a new one.
fn trace_id(headers: &HeaderMap) -> String {
    let given = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    if let Some(id) = given.and_then(|text| text.split('-').nth(1))
        && id.len() == 32
        && id
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && id.bytes().any(|byte| byte != b'0')
    {
        return id.to_owned();
    }
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // The keys of a hasher are random, so its output tells requests and processes apart.
    let (high, low) = (RandomState::new(), RandomState::new());
    format!("{:016x}{:016x}", high.hash_one(count), low.hash_one(count))
}
