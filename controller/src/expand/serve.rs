//! What hosts serve: built-in responders, and programs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{DnsRecord, Listen, Ready, Run};
use crate::names::dns_name_problem;
use crate::problem::{Code, FieldError, pointer_to};
use crate::quantity::TimeSpan;
use crate::spec::{ListenSpec, OneOrMany, ReadySpec, RunSpec};

/// How long a program may take until it is ready, where nothing is said.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A host's responders; `pointer` leads to their list. Each of them has a port of its own.
pub(super) fn listen(
    specs: &[ListenSpec],
    pointer: &str,
    errors: &mut Vec<FieldError>,
) -> Vec<Listen> {
    let mut found = Vec::new();
    let mut taken = BTreeSet::new();
    for (index, spec) in specs.iter().enumerate() {
        let pointer = pointer_to(pointer, index);
        let Some(one) = responder(spec, &pointer, errors) else {
            continue;
        };
        let port = one.port();
        if port == 0 {
            let detail = "port 0 is out of range [1, 65535]";
            add(errors, &pointer, Code::OutOfRange, detail);
        }
        let is_free = match one {
            Listen::Tcp { .. } | Listen::Http { .. } => taken.insert(("tcp", port)),
            Listen::Udp { .. } => taken.insert(("udp", port)),
            Listen::Dns { .. } => taken.insert(("tcp", port)) & taken.insert(("udp", port)),
        };
        if is_free {
            found.push(one);
        } else {
            let detail = format!("two responders listen on port {port}");
            add(errors, &pointer, Code::Duplicate, detail);
        }
    }
    found
}

/// One responder: its kind is the key that has the port, and decides which other keys fit.
fn responder(spec: &ListenSpec, pointer: &str, errors: &mut Vec<FieldError>) -> Option<Listen> {
    let ListenSpec {
        tcp,
        udp,
        http,
        dns,
        reply,
        status,
        body,
        records,
    } = spec.clone();
    let others = [
        ("reply", reply.is_some(), &["tcp", "udp"][..]),
        ("status", status.is_some(), &["http"]),
        ("body", body.is_some(), &["http"]),
        ("records", records.is_some(), &["dns"]),
    ];
    let reply = reply.unwrap_or_default();
    let (kind, one) = match (tcp, udp, http, dns) {
        (Some(port), None, None, None) => ("tcp", Listen::Tcp { port, reply }),
        (None, Some(port), None, None) => ("udp", Listen::Udp { port, reply }),
        (None, None, Some(port), None) => {
            let status = status.unwrap_or(200);
            if !(200..=599).contains(&status) {
                let detail = format!("the status {status} is out of range [200, 599]");
                add(
                    errors,
                    &pointer_to(pointer, "status"),
                    Code::OutOfRange,
                    detail,
                );
            }
            let body = body.unwrap_or_default();
            ("http", Listen::Http { port, status, body })
        }
        (None, None, None, Some(port)) => {
            let at = pointer_to(pointer, "records");
            if records.is_none() {
                let detail =
                    "a `dns` responder wants `records`, for example `{ web.example: 10.0.0.1 }`";
                add(errors, &at, Code::MissingField, detail);
            }
            let records = dns_records(&records.unwrap_or_default(), &at, errors);
            ("dns", Listen::Dns { port, records })
        }
        _ => {
            let detail = "exactly one of `tcp`, `udp`, `http` and `dns` is wanted";
            add(errors, pointer, Code::Conflict, detail);
            return None;
        }
    };
    for (key, is_there, kinds) in others {
        if is_there && !kinds.contains(&kind) {
            let detail = format!("`{key}` is for `{}`", kinds.join("` and `"));
            add(errors, &pointer_to(pointer, key), Code::Conflict, detail);
        }
    }
    Some(one)
}

/// Records by normalised names. A name has either addresses, or one other name (RFC 1034 section 3.6.2).
fn dns_records(
    specs: &BTreeMap<String, OneOrMany<String>>,
    pointer: &str,
    errors: &mut Vec<FieldError>,
) -> BTreeMap<String, Vec<DnsRecord>> {
    let mut found = BTreeMap::new();
    for (name, values) in specs {
        let pointer = pointer_to(pointer, name);
        if let Some(problem) = dns_name_problem(name) {
            add(errors, &pointer, Code::InvalidName, problem);
        }
        let mut records = Vec::new();
        for value in values.iter() {
            records.push(match value.parse() {
                Ok(address) => DnsRecord::Address(address),
                Err(_) => {
                    if let Some(problem) = dns_name_problem(value) {
                        add(errors, &pointer, Code::WrongFormat, problem);
                    }
                    DnsRecord::Alias(plain_name(value))
                }
            });
        }
        let has_alias = records.iter().any(|one| matches!(one, DnsRecord::Alias(_)));
        if has_alias && records.len() > 1 {
            let detail = format!("`{name}` stands for another name, so it has nothing else");
            add(errors, &pointer, Code::Conflict, detail);
        }
        if found.insert(plain_name(name), records).is_some() {
            let detail = format!("the name `{name}` is there twice");
            add(errors, &pointer, Code::Duplicate, detail);
        }
    }
    found
}

/// A DNS name as it is compared: in lower case, without the dot at the end.
fn plain_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// A host's programs; `pointer` leads to their list.
pub(super) fn run(specs: &[RunSpec], pointer: &str, errors: &mut Vec<FieldError>) -> Vec<Run> {
    let mut found = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let declared_at = pointer_to(pointer, index);
        let RunSpec {
            cmd,
            cwd,
            env,
            ready,
        } = spec.clone();
        if cmd.first().is_none_or(String::is_empty) {
            let pointer = pointer_to(&declared_at, "cmd");
            add(errors, &pointer, Code::OutOfRange, "`cmd` names no program");
        }
        if ready.as_ref().is_some_and(|ready| ready.tcp == 0) {
            let pointer = pointer_to(&pointer_to(&declared_at, "ready"), "tcp");
            let detail = "port 0 is out of range [1, 65535]";
            add(errors, &pointer, Code::OutOfRange, detail);
        }
        found.push(Run {
            cmd,
            cwd,
            env,
            ready: ready.map(|ReadySpec { tcp, within }| Ready {
                tcp,
                within: within.map_or(READY_WITHIN, TimeSpan::as_duration),
            }),
            declared_at,
        });
    }
    found
}

/// Adds a mistake once: the settings of a group are those of many nodes.
fn add(errors: &mut Vec<FieldError>, pointer: &str, code: Code, detail: impl Into<String>) {
    let error = FieldError::new(pointer, code, detail);
    if !errors.contains(&error) {
        errors.push(error);
    }
}
