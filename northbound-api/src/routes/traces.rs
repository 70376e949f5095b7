//! What becomes of a packet.

use axum::Json;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use weft_controller::spec::trace::TraceRequest;

use super::Answer;
use crate::problem::ProblemDocument;
use crate::request::{Call, Document};

/// What would become of a host's packet, hop by hop, by the switches' state as it is: nothing is sent, no counter moves.
/// With `mode: live`, what becomes of the next real one.
#[utoipa::path(
    post, path = "/v1/traces", tag = "topology",
    request_body = TraceQuestion,
    responses(
        (status = 200, description = "The verdict, where and why, and the way.", body = TraceFound),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn trace(call: Call, document: Document) -> Answer {
    call.params(&[])?;
    let request: TraceRequest = document.parse()?;
    Ok(Json(call.handle.trace(&request).await?).into_response())
}

/// Describes [`TraceRequest`].
#[derive(Debug)]
pub(crate) struct TraceQuestion;

impl utoipa::ToSchema for TraceQuestion {}

impl utoipa::PartialSchema for TraceQuestion {
    fn schema() -> RefOr<Schema> {
        let end = |what: &str| {
            json!({ "description": what, "oneOf": [
                { "type": "string" },
                { "type": "object", "required": ["host"], "properties": { "host": { "type": "string" } } },
            ] })
        };
        let number = |max: u32| json!({ "type": "integer", "minimum": 0, "maximum": max });
        let text = |example: &str| json!({ "type": "string", "examples": [example] });
        described(json!({
            "type": "object",
            "description": "A packet that a host would send.",
            "required": ["from"],
            "additionalProperties": false,
            "properties": {
                "mode": { "type": "string", "enum": ["static", "live"], "default": "static" },
                "within": {
                    "type": "string", "default": "5s", "examples": ["500ms"],
                    "description": "How long a packet is waited for, live; at most 30s.",
                },
                "from": end("The host that sends it."),
                "to": end("Whom it is for: a host or an address; left out where `packet` has the destination."),
                "packet": {
                    "type": "object",
                    "description": "What it is apart from its ends, by the names that flows match; an echo request where nothing is said.",
                    "additionalProperties": false,
                    "properties": {
                        "eth_src": text("02:00:00:00:00:01"),
                        "eth_dst": text("02:00:00:00:00:02"),
                        "ipv4_src": text("10.0.0.1"),
                        "ipv4_dst": text("10.0.0.2"),
                        "ipv6_src": text("fd00::1"),
                        "ipv6_dst": text("fd00::2"),
                        "ip_proto": { "type": ["string", "integer"], "examples": ["tcp"] },
                        "ip_ttl": number(255),
                        "ip_dscp": number(63),
                        "tcp_src": number(65_535),
                        "tcp_dst": number(65_535),
                        "udp_src": number(65_535),
                        "udp_dst": number(65_535),
                        "length": number(8900),
                    },
                },
            },
            "examples": [{ "from": "h1", "to": "h2", "packet": { "ip_proto": "tcp", "tcp_dst": 443 } }],
        }))
    }
}

/// Describes [`weft_controller::spec::trace::TraceAnswer`].
#[derive(Debug)]
pub(crate) struct TraceFound;

impl utoipa::ToSchema for TraceFound {}

impl utoipa::PartialSchema for TraceFound {
    fn schema() -> RefOr<Schema> {
        let text = |what: &str| json!({ "type": "string", "description": what });
        let cause = json!({
            "type": "object",
            "description": "Who wanted it so.",
            "required": ["kind", "name"],
            "properties": {
                "kind": {
                    "type": "string",
                    "description": "What kind of resource it is. `fabric`: the built-in fabric itself; `noMatch`: nothing matched in this table; `foreign`: an entry of this table that nobody declared.",
                    "enum": ["flow", "group", "entry", "node", "link", "subnet", "network", "fabric", "noMatch", "foreign"],
                },
                "name": text("Its name; of an entry TABLE/NAME, of a subnet its prefix."),
                "detail": text("What it has to do with the packet, where the name does not say it."),
                "owner": text("Whose it is, of what was declared over the API."),
                "file": text("The topology file that declares it."),
                "line": { "type": "integer", "minimum": 1, "description": "The line in that file." },
            },
        });
        let object = |what: &str| json!({ "type": "object", "description": what });
        described(json!({
            "type": "object",
            "description": "What becomes of the packet.",
            "required": ["verdict", "at", "hops"],
            "properties": {
                "verdict": { "type": "string", "enum": ["delivered", "dropped", "toController", "notSeen"] },
                "at": {
                    "type": "object",
                    "description": "Where it ends.",
                    "properties": {
                        "host": text("The host that gets it, or that cannot send it."),
                        "switch": text("The last switch."),
                        "port": text("Its port, where the packet leaves or would have."),
                        "table": text("The table whose entry decided."),
                    },
                },
                "reason": text("Why: the reason by which the switch counts the drop."),
                "cause": cause.clone(),
                "hops": { "type": "array", "description": "The switches on the way.", "items": {
                    "type": "object",
                    "required": ["switch", "inPort", "headers", "tables"],
                    "properties": {
                        "switch": text("The switch."),
                        "inPort": text("The port by which the packet enters."),
                        "headers": { "type": "array", "items": { "type": "string" } },
                        "tables": { "type": "array", "description": "What is looked up, in order.", "items": {
                            "type": "object",
                            "properties": {
                                "table": text("The table; statements outside of tables have none."),
                                "entry": {
                                    "type": "object",
                                    "description": "The entry that matched.",
                                    "required": ["match"],
                                    "properties": {
                                        "match": object("Its key: fields that count."),
                                        "priority": { "type": "integer" },
                                        "cause": cause,
                                    },
                                },
                                "action": {
                                    "type": "object",
                                    "required": ["name"],
                                    "properties": {
                                        "name": { "type": "string" },
                                        "params": object("Its arguments."),
                                    },
                                },
                                "rewrite": object("Header fields that changed, each with `from` and `to`."),
                                "drop": text("The packet is dropped here, for this reason."),
                            },
                        } },
                        "outPort": text("The port by which the packet leaves."),
                    },
                } },
                "copies": object("Other copies that the packet became, counted by their ends."),
                "diverged": { "type": "boolean", "description": "Live: the packet went another way than its headers and the switches' state foretell, so the tables of its hops are not known." },
                "truncated": { "type": "boolean", "description": "There were too many copies to follow all." },
            },
        }))
    }
}

fn described(schema: Value) -> RefOr<Schema> {
    serde_json::from_value(schema).expect("the literals above are schemas")
}
