//! Nodes: ranges in names, and settings from defaults, kinds and groups.

use std::collections::BTreeSet;

use super::{ENOUGH, MAX_NODES, serve};
use crate::model::{Listen, Run};
use crate::names;
use crate::problem::{Code, FieldError, pointer_to};
use crate::spec::{Document, NodeKind, NodeSpec};

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
    let mut spread = 0_usize;
    for (pattern, spec) in &topology.nodes {
        if errors.len() > ENOUGH {
            break;
        }
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
        let Some((kind, merged, from)) = settings(document, pattern, spec, &pointer, errors) else {
            continue;
        };
        let listen = serve::listen(&merged.listen, &from.listen, errors);
        let run = serve::run(&merged.run, &from.run, errors);
        if nodes.len() + names.len() > MAX_NODES {
            let detail = format!("the lab has more than {MAX_NODES} nodes");
            errors.push(FieldError::new(pointer, Code::OutOfRange, detail));
            break;
        }
        spread = spread.saturating_add(size(&merged).saturating_mul(names.len()));
        if spread > MAX_SPREAD {
            let detail = "the settings that nodes share are too large for so many nodes";
            errors.push(FieldError::new(pointer, Code::OutOfRange, detail));
            break;
        }
        for name in names {
            if errors.len() > ENOUGH {
                break;
            }
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

/// Most bytes of all nodes' settings, those that they share counted for each.
const MAX_SPREAD: usize = 64 << 20;

fn size(spec: &NodeSpec) -> usize {
    serde_json::to_vec(spec).map_or(usize::MAX, |text| text.len())
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
) -> Option<(NodeKind, NodeSpec, Origins)> {
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
        return Some((NodeKind::Host, spec.clone(), Origins::at(pointer)));
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
    let mut origins = Origins::at("/topology/defaults");
    let kind_pointer = pointer_to("/topology/kinds", kind.as_str());
    let group_pointer = pointer_to("/topology/groups", group_name.map_or("", String::as_str));
    for (layer, at) in [
        (topology.kinds.get(kind.as_str()), kind_pointer.as_str()),
        (group, &group_pointer),
        (Some(spec), pointer),
    ] {
        if let Some(layer) = layer {
            origins.follow(layer, at);
            overlay(&mut merged, layer);
        }
    }
    Some((kind, merged, origins))
}

/// Where the lists of a node's settings stand in the document.
struct Origins {
    listen: String,
    run: String,
}

impl Origins {
    fn at(pointer: &str) -> Self {
        Self {
            listen: pointer_to(pointer, "listen"),
            run: pointer_to(pointer, "run"),
        }
    }

    /// As [`overlay`] does it.
    fn follow(&mut self, over: &NodeSpec, pointer: &str) {
        let Self { listen, run } = Self::at(pointer);
        if !over.listen.is_empty() {
            self.listen = listen;
        }
        if !over.run.is_empty() {
            self.run = run;
        }
    }
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
