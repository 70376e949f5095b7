//! Packets of applications: out through a switch, and in from all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use weft_controller::flow::text::{Form, Format, Pattern, Ports, parse, print};
use weft_controller::packets::PacketIn;
use weft_controller::problem::{Code, FieldError, pointer_to};
use weft_controller::quantity::TimeSpan;
use weft_proto::schema::MetadataSchema;
use weft_proto::vocab::{MatchKind, PortNo};

use super::Answer;
use crate::payload::{Encoding, base64};
use crate::problem::{Problem, ProblemDocument};
use crate::request::{Call, Document, Params};

/// Bytes of a frame: an Ethernet header, and the largest IP packet behind it.
const FRAME: std::ops::RangeInclusive<usize> = 14..=14 + 65_535;
/// Longest time of a long poll.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Most packets in one answer.
const MAX_LIMIT: usize = 1000;

/// A packet to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PacketOut {
    /// The switch.
    switch: String,
    /// The port that it leaves by, untouched; without one the switch's pipeline handles it as if it came in.
    #[schema(value_type = Option<String>)]
    port: Option<Value>,
    /// The whole frame from the destination MAC on, in base64 or in hexadecimal digits.
    payload: String,
    /// `base64` or `hex`; where it is left out, a payload of pairs of hexadecimal digits is taken for that.
    #[schema(value_type = Option<String>)]
    encoding: Option<Encoding>,
    /// Other values that the switch's pipeline wants with a packet, by name; 0 where they are left out.
    #[serde(default)]
    #[schema(value_type = Object)]
    metadata: BTreeMap<String, Value>,
}

/// A packet that was handed to its switch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sent {
    /// The switch.
    switch: String,
    /// The port, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    port: Option<Value>,
    /// Bytes of the frame.
    length: usize,
}

/// A packet that a switch sent to the controller.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Packet {
    /// Counts packets; `since` excludes it.
    id: u64,
    /// The switch.
    switch: String,
    /// The port that it came in by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    port: Option<Value>,
    /// All that the switch's pipeline sends with a packet, by name.
    #[schema(value_type = Object)]
    metadata: BTreeMap<String, Value>,
    /// The frame in base64.
    payload: String,
    /// Its bytes.
    length: usize,
}

/// Packets from switches.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Packets {
    /// The packets, oldest first.
    items: Vec<Packet>,
    /// The `since` of the next request.
    next: u64,
    /// Packets after `since` that were too old to be kept.
    missed: u64,
}

/// Sends a packet through a switch.
#[utoipa::path(
    post, path = "/v1/packetOuts", tag = "packets", request_body = PacketOut,
    responses(
        (status = 202, description = "The switch has it.", body = Sent),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The switch is away, or another client is its primary.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn send(call: Call, document: Document) -> Answer {
    call.params(&[])?;
    let packet: PacketOut = document.parse()?;
    let ports = ports(&call, &packet.switch).map_err(|_| no_switch(&call, &packet.switch))?;
    let encoding = packet
        .encoding
        .unwrap_or_else(|| Encoding::of(&packet.payload));
    let mut errors = Vec::new();
    let payload = encoding.decode(&packet.payload);
    match &payload {
        None => errors.push(FieldError::new(
            "/payload",
            Code::WrongFormat,
            "a frame is wanted, in base64 or in hexadecimal digits",
        )),
        Some(frame) if !FRAME.contains(&frame.len()) => errors.push(FieldError::new(
            "/payload",
            Code::OutOfRange,
            format!(
                "a frame has {} to {} bytes, this one has {}",
                FRAME.start(),
                FRAME.end(),
                frame.len()
            ),
        )),
        Some(_) => {}
    }
    let schema = call.handle.pipeline(&packet.switch)?;
    let fields = schema.packet_out();
    let (metadata, port) = metadata(fields, &ports, &packet, &mut errors);
    let Some(payload) = payload.filter(|_| errors.is_empty()) else {
        return Err(Problem::invalid(errors));
    };
    let length = payload.len();
    call.handle
        .send_packet(&packet.switch, metadata, payload.into())
        .await?;
    let sent = Sent {
        switch: packet.switch,
        port,
        length,
    };
    Ok((StatusCode::ACCEPTED, Json(sent)).into_response())
}

/// The newest packets that switches sent to the controller; with `wait`, as soon as there are some.
#[utoipa::path(
    get, path = "/v1/packetIns", tag = "packets",
    params(
        ("since" = Option<u64>, Query, description = "Packets after this one: `next` of the answer before."),
        ("wait" = Option<String>, Query, description = "How long to wait for a packet, such as `30s`; at most 60s."),
        ("switch" = Option<String>, Query, description = "Those of one switch."),
        ("limit" = Option<usize>, Query, description = "Most packets of the answer, 1 to 1000."),
    ),
    responses(
        (status = 200, description = "The packets.", body = Packets),
        (status = 204, description = "None came while it waited."),
        (status = "4XX", description = "A problem.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(call: Call) -> Answer {
    let params = call.params(&["since", "wait", "switch", "limit"])?;
    let since = number(&params, "since", 0..=u64::MAX)?.unwrap_or(0);
    let limit = number(&params, "limit", 1..=MAX_LIMIT as u64)?;
    let limit = limit.map_or(MAX_LIMIT, |limit| {
        usize::try_from(limit).unwrap_or(MAX_LIMIT)
    });
    let switch = params.get("switch");
    if let Some(switch) = switch {
        call.handle.switch(switch)?;
    }
    let wait = patience(&params)?;
    let found = call
        .handle
        .packet_ins(since, switch, limit, wait.unwrap_or(Duration::ZERO))
        .await;
    if found.packets.is_empty() && wait.is_some() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let is_full = found.packets.len() == limit;
    let next = match found.packets.last() {
        Some(last) if is_full => last.id,
        _ => found.newest,
    };
    let mut items = Vec::new();
    for packet in &found.packets {
        items.push(words(&call, packet)?);
    }
    let packets = Packets {
        items,
        next,
        // A number from another process counts nothing.
        missed: found.oldest.saturating_sub(since.saturating_add(1)),
    };
    Ok(Json(packets).into_response())
}

fn ports(call: &Call, switch: &str) -> Result<Ports, Problem> {
    let ports = call.handle.ports(switch)?.into_iter();
    Ok(ports.map(|port| (port.name, PortNo(port.number))).collect())
}

fn no_switch(call: &Call, name: &str) -> Problem {
    let known = call.handle.switches().into_iter().map(|switch| switch.name);
    let detail = format!("there is no switch {name}");
    let error = FieldError::new("/switch", Code::NoSuchSwitch, detail);
    Problem::invalid(vec![error.with_allowed(name, known)])
}

/// One value for each field of the pipeline, and the port in words.
fn metadata(
    fields: &[MetadataSchema],
    ports: &Ports,
    packet: &PacketOut,
    errors: &mut Vec<FieldError>,
) -> (Vec<u128>, Option<Value>) {
    let mut shown = None;
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    for unknown in packet.metadata.keys() {
        if !names.contains(&unknown.as_str()) {
            let detail = format!("a packet of this pipeline has no {unknown}");
            let pointer = pointer_to("/metadata", unknown);
            let error = FieldError::new(pointer, Code::UnknownField, detail);
            errors.push(error.with_allowed(unknown, names.iter().copied()));
        }
    }
    let is_port = |field: &&MetadataSchema| form(field).format == Format::Port;
    let port_field = fields.iter().find(is_port).map(|field| field.id);
    if packet.port.is_some() && port_field.is_none() {
        let detail = "packets of this pipeline cannot be sent to a port";
        errors.push(FieldError::new("/port", Code::NotSupported, detail));
    }
    let values = fields.iter().map(|field| {
        let port = packet
            .port
            .as_ref()
            .filter(|_| port_field == Some(field.id));
        let given = match port {
            Some(port) => Some(("/port".to_owned(), port)),
            None => (packet.metadata.get(&field.name))
                .map(|value| (pointer_to("/metadata", &field.name), value)),
        };
        let Some((pointer, value)) = given else {
            return 0;
        };
        match parse(&form(field), ports, value) {
            Ok(pattern @ Pattern::Masked { value, .. }) => {
                if port.is_some() {
                    shown = Some(print(&form(field), ports, pattern));
                }
                value
            }
            Ok(Pattern::Range { .. }) => 0,
            Err(mut error) => {
                if error.code == Code::NoSuchPort {
                    error
                        .detail
                        .insert_str(0, &format!("{} has ", packet.switch));
                }
                errors.push(error.under(&pointer));
                0
            }
        }
    });
    let values = values.collect();
    (values, shown)
}

fn form(field: &MetadataSchema) -> Form<'static> {
    Form {
        format: Format::of(field.format.as_deref()),
        bits: field.bits,
        kind: MatchKind::Exact,
        names: Vec::new(),
    }
}

fn words(call: &Call, packet: &PacketIn) -> Result<Packet, Problem> {
    let schema = call.handle.pipeline(&packet.switch)?;
    let ports = ports(call, &packet.switch)?;
    let (mut metadata, mut port) = (BTreeMap::new(), None);
    for (field, value) in schema.packet_in().iter().zip(&packet.metadata) {
        let form = form(field);
        let text = print(&form, &ports, Pattern::exact(*value, field.bits));
        if form.format == Format::Port && port.is_none() {
            port = Some(text.clone());
        }
        metadata.insert(field.name.clone(), text);
    }
    Ok(Packet {
        id: packet.id,
        switch: packet.switch.clone(),
        port,
        metadata,
        payload: base64(&packet.payload),
        length: packet.payload.len(),
    })
}

fn patience(params: &Params) -> Result<Option<Duration>, Problem> {
    let Some(text) = params.get("wait") else {
        return Ok(None);
    };
    match text.parse::<TimeSpan>() {
        Ok(span) => Ok(Some(Duration::from_nanos(span.0).min(MAX_WAIT))),
        Err(error) => Err(Problem::parameter(FieldError::new(
            "?wait",
            Code::WrongFormat,
            error.to_string(),
        ))),
    }
}

fn number(
    params: &Params,
    name: &str,
    allowed: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, Problem> {
    let Some(text) = params.get(name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) if allowed.contains(&number) => Ok(Some(number)),
        _ => Err(Problem::parameter(FieldError::new(
            format!("?{name}"),
            Code::OutOfRange,
            format!("{name} is {} to {}", allowed.start(), allowed.end()),
        ))),
    }
}
