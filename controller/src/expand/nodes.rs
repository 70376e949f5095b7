//! Nodes: ranges in names, and settings from defaults, kinds and groups.

use std::collections::BTreeSet;

use crate::model::{Listen, Run};
use crate::names;
use crate::problem::{Code, FieldError, pointer_to};
use crate::spec::{Document, ListenSpec, NodeKind, NodeSpec, RunSpec};

/// One node with all its settings.
#[derive(Clone, Debug)]
pub(super) struct NodeDecl {
    pub(super) name: String,
    /// Where it stands in the document.
    pub(super) pointer: String,
    pub(super) kind: NodeKind,
    pub(super) spec: NodeSpec,
    pub(super) listen: Vec<Listen>,
    pub(super) run: Vec<Run>,
}

impl NodeDecl {
    /// Whether it ends packets instead of switching them.
    pub(super) fn is_host(&self) -> bool {
        self.kind != NodeKind::Switch
    }
}

/// All nodes in file order. A node whose kind is not known counts as a host.
pub(super) fn expand(document: &Document, errors: &mut Vec<FieldError>) -> Vec<NodeDecl> {
    let topology = &document.topology;
    for kind in topology.kinds.keys() {
        if parse_kind(kind).is_none() {
            let pointer = pointer_to("/topology/kinds", kind);
            errors.push(
                FieldError::new(pointer, Code::InvalidName, format!("unknown kind `{kind}`"))
                    .with_allowed(kind, KINDS.map(NodeKind::as_str)),
            );
        }
    }
    for (name, group) in &topology.groups {
        if group.group.is_some() {
            let pointer = pointer_to(&pointer_to("/topology/groups", name), "group");
            errors.push(FieldError::new(
                pointer,
                Code::Conflict,
                "a group cannot be in a group",
            ));
        }
    }
    let mut nodes: Vec<NodeDecl> = Vec::new();
    let mut seen = BTreeSet::new();
    for (pattern, spec) in &topology.nodes {
        let pointer = pointer_to("/topology/nodes", pattern);
        let names = match names::expand(pattern) {
            Ok(names) => names,
            Err(error) => {
                errors.push(FieldError::new(
                    pointer,
                    Code::InvalidName,
                    error.to_string(),
                ));
                continue;
            }
        };
        let Some((kind, merged)) = settings(document, pattern, spec, &pointer, errors) else {
            continue;
        };
        let listen = listen(&merged.listen, &pointer, errors);
        let run = run(&merged.run, &pointer, errors);
        for name in names {
            if let Some(problem) = names::name_problem(&name) {
                errors.push(FieldError::new(&pointer, Code::InvalidName, problem));
            } else if !seen.insert(name.clone()) {
                let detail = format!("the node `{name}` is declared twice");
                errors.push(FieldError::new(&pointer, Code::InvalidName, detail));
            } else {
                nodes.push(NodeDecl {
                    name,
                    pointer: pointer.clone(),
                    kind,
                    spec: merged.clone(),
                    listen: listen.clone(),
                    run: run.clone(),
                });
            }
        }
    }
    nodes
}

const KINDS: [NodeKind; 3] = [NodeKind::Host, NodeKind::Switch, NodeKind::Router];

fn parse_kind(word: &str) -> Option<NodeKind> {
    KINDS.into_iter().find(|kind| kind.as_str() == word)
}

/// A node's kind, and its settings over those of its group, its kind and the defaults.
fn settings(
    document: &Document,
    name: &str,
    spec: &NodeSpec,
    pointer: &str,
    errors: &mut Vec<FieldError>,
) -> Option<(NodeKind, NodeSpec)> {
    let topology = &document.topology;
    let group_name = spec.group.as_ref().or(topology.defaults.group.as_ref());
    let group = group_name.and_then(|name| topology.groups.get(name));
    if let (Some(name), None) = (group_name, group) {
        let detail = format!("there is no group `{name}`");
        let known = topology.groups.keys().map(String::as_str);
        errors.push(
            FieldError::new(pointer_to(pointer, "group"), Code::NoSuchReference, detail)
                .with_allowed(name, known),
        );
    }
    let kind = spec
        .kind
        .or_else(|| group.and_then(|group| group.kind))
        .or(topology.defaults.kind);
    let Some(kind) = kind else {
        // Without its group nobody can tell the kind; that mistake is reported already.
        if group.is_some() || group_name.is_none() {
            let detail = format!("the node `{name}` has no `kind`");
            errors.push(
                FieldError::new(pointer_to(pointer, "kind"), Code::MissingField, detail)
                    .with_allowed("", KINDS.map(NodeKind::as_str)),
            );
        }
        return Some((NodeKind::Host, spec.clone()));
    };
    if kind == NodeKind::Switch {
        let wrong = [
            ("ip", !spec.ip.is_empty()),
            ("gateway", !spec.gateway.is_empty()),
            ("attach", spec.attach.is_some()),
            ("port", spec.port.is_some()),
            ("listen", !spec.listen.is_empty()),
            ("run", !spec.run.is_empty()),
            ("interfaces", !spec.interfaces.is_empty()),
        ];
        for (key, _) in wrong.into_iter().filter(|(_, is_there)| *is_there) {
            let detail = format!("`{key}` is for hosts, `{name}` is a switch");
            errors.push(FieldError::new(
                pointer_to(pointer, key),
                Code::Conflict,
                detail,
            ));
        }
    }
    let mut merged = topology.defaults.clone();
    for layer in [topology.kinds.get(kind.as_str()), group, Some(spec)]
        .into_iter()
        .flatten()
    {
        overlay(&mut merged, layer);
    }
    Some((kind, merged))
}

/// Lays the settings of `over` on those of `base`. Labels and interfaces add up; the rest replaces.
fn overlay(base: &mut NodeSpec, over: &NodeSpec) {
    let NodeSpec {
        kind,
        group,
        labels,
        mtu,
        ip,
        gateway,
        attach,
        port,
        listen,
        run,
        interfaces,
    } = over.clone();
    base.kind = kind.or(base.kind);
    base.group = group.or_else(|| base.group.take());
    base.labels.extend(labels);
    base.mtu = mtu.or(base.mtu);
    base.attach = attach.or_else(|| base.attach.take());
    base.port = port.or(base.port);
    base.interfaces.extend(interfaces);
    if !ip.is_empty() {
        base.ip = ip;
    }
    if !gateway.is_empty() {
        base.gateway = gateway;
    }
    if !listen.is_empty() {
        base.listen = listen;
    }
    if !run.is_empty() {
        base.run = run;
    }
}

fn listen(specs: &[ListenSpec], pointer: &str, errors: &mut Vec<FieldError>) -> Vec<Listen> {
    let mut found = Vec::new();
    let mut taken = BTreeSet::new();
    for (index, spec) in specs.iter().enumerate() {
        let pointer = pointer_to(&pointer_to(pointer, "listen"), index);
        let ListenSpec {
            tcp,
            udp,
            http,
            reply,
            status,
            body,
        } = spec.clone();
        let reply_text = reply.clone().unwrap_or_default();
        let one = match (tcp, udp, http) {
            (Some(port), None, None) => Listen::Tcp {
                port,
                reply: reply_text,
            },
            (None, Some(port), None) => Listen::Udp {
                port,
                reply: reply_text,
            },
            (None, None, Some(port)) => Listen::Http {
                port,
                status: status.unwrap_or(200),
                body: body.clone().unwrap_or_default(),
            },
            _ => {
                let detail = "exactly one of `tcp`, `udp` and `http` is wanted";
                errors.push(FieldError::new(pointer, Code::Conflict, detail));
                continue;
            }
        };
        let is_http = matches!(one, Listen::Http { .. });
        for (key, is_wrong) in [
            ("reply", is_http && reply.is_some()),
            ("status", !is_http && status.is_some()),
            ("body", !is_http && body.is_some()),
        ] {
            if is_wrong {
                let detail = format!(
                    "`{key}` is for {}",
                    if is_http { "`tcp` and `udp`" } else { "`http`" }
                );
                errors.push(FieldError::new(
                    pointer_to(&pointer, key),
                    Code::Conflict,
                    detail,
                ));
            }
        }
        if one.port() == 0 {
            errors.push(FieldError::new(
                &pointer,
                Code::OutOfRange,
                "port 0 is out of range [1, 65535]",
            ));
        }
        if status.is_some_and(|status| !(200..=599).contains(&status)) {
            let detail = "the status is out of range [200, 599]";
            errors.push(FieldError::new(
                pointer_to(&pointer, "status"),
                Code::OutOfRange,
                detail,
            ));
        }
        if !taken.insert((udp.is_some(), one.port())) {
            let detail = format!("two responders listen on port {}", one.port());
            errors.push(FieldError::new(pointer, Code::Duplicate, detail));
            continue;
        }
        found.push(one);
    }
    found
}

fn run(specs: &[RunSpec], pointer: &str, errors: &mut Vec<FieldError>) -> Vec<Run> {
    let mut found = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let RunSpec {
            cmd,
            cwd,
            env,
            ready,
        } = spec.clone();
        if cmd.is_empty() {
            let pointer = pointer_to(&pointer_to(&pointer_to(pointer, "run"), index), "cmd");
            errors.push(FieldError::new(
                pointer,
                Code::OutOfRange,
                "`cmd` names no program",
            ));
        }
        found.push(Run {
            cmd,
            cwd,
            env,
            ready_tcp: ready.map(|ready| ready.tcp),
        });
    }
    found
}
