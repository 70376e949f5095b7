//! Paths between two nodes.

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;
use utoipa::openapi::{RefOr, Schema};
use weft_controller::paths;
use weft_controller::spec::path::PathRequest;

use super::Answer;
use crate::problem::{Problem, ProblemDocument};
use crate::request::{Call, Document};

/// Paths between two nodes over links that are up. That there is none is an answer, with what is in the way.
#[utoipa::path(
    post, path = "/v1/paths", tag = "topology",
    request_body = PathQuestion,
    responses(
        (status = 200, description = "Loop-free paths in the order of cost.", body = PathsFound),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn search(call: Call, document: Document) -> Answer {
    call.params(&[])?;
    let request: PathRequest = document.parse()?;
    let graph = call.handle.graph();
    // A search may take long; other requests go on meanwhile.
    let search = tokio::task::spawn_blocking(move || paths::find(&graph, &request));
    let found = search.await.map_err(|error| {
        tracing::error!(%error, "path search failed");
        Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR, "the search failed")
    })?;
    Ok(Json(found.map_err(Problem::invalid)?).into_response())
}

/// Describes [`PathRequest`].
#[derive(Debug)]
pub(crate) struct PathQuestion;

impl utoipa::ToSchema for PathQuestion {}

impl utoipa::PartialSchema for PathQuestion {
    fn schema() -> RefOr<Schema> {
        let names = json!({ "type": "array", "items": { "type": "string" } });
        described(json!({
            "type": "object",
            "description": "Which paths are wanted.",
            "required": ["from", "to"],
            "additionalProperties": false,
            "properties": {
                "from": { "type": "string", "description": "The node where they begin." },
                "to": { "type": "string", "description": "The node where they end." },
                "select": {
                    "type": "object",
                    "description": "How many paths, and which.",
                    "additionalProperties": false,
                    "properties": {
                        "kind": {
                            "type": "string", "enum": ["shortest", "ecmp", "k", "disjoint"], "default": "shortest",
                        },
                        "k": { "type": "integer", "minimum": 1, "maximum": 64 },
                        "level": { "type": "string", "enum": ["link", "node", "srlg"], "default": "link" },
                    },
                },
                "constraints": {
                    "type": "object",
                    "description": "What each of them has to keep.",
                    "additionalProperties": false,
                    "properties": {
                        "minBandwidth": { "type": "string", "examples": ["1gbit"] },
                        "maxLatency": { "type": "string", "examples": ["5ms"] },
                        "avoid": names,
                        "via": names,
                    },
                },
            },
        }))
    }
}

/// Describes [`weft_controller::spec::path::PathAnswer`].
#[derive(Debug)]
pub(crate) struct PathsFound;

impl utoipa::ToSchema for PathsFound {}

impl utoipa::PartialSchema for PathsFound {
    fn schema() -> RefOr<Schema> {
        let names = json!({ "type": "array", "items": { "type": "string" } });
        described(json!({
            "type": "object",
            "description": "The paths that were found.",
            "required": ["paths"],
            "properties": {
                "paths": { "type": "array", "items": {
                    "type": "object",
                    "required": ["nodes", "links", "cost", "latency"],
                    "properties": {
                        "nodes": names,
                        "links": names,
                        "cost": { "type": "integer", "minimum": 0 },
                        "latency": { "type": "string", "examples": ["2ms"] },
                        "bandwidth": { "type": "string", "examples": ["1gbit"] },
                    },
                } },
                "blockedBy": { "type": "array", "description": "Why there is none.", "items": {
                    "type": "object",
                    "required": ["constraint", "detail"],
                    "properties": {
                        "constraint": { "type": "string" },
                        "detail": { "type": "string" },
                    },
                } },
            },
        }))
    }
}

fn described(schema: serde_json::Value) -> RefOr<Schema> {
    serde_json::from_value(schema).expect("the literals above are schemas")
}
