//! From a document to a model: everything that was left open is decided here, by rules that depend on the file alone.
//!
//! Ranges become names, groups become settings, hosts without a link are attached to the switches in turn, ports get their
//! numbers and interfaces their names, MACs and addresses. The order of the file decides, so the same file always gives the
//! same model. Everything that does not fit is an error with its place; all of them are found in one pass.

mod address;
mod check;
mod links;
mod nodes;
mod serve;
mod wire;

use std::collections::BTreeMap;

use crate::model::{FabricMode, Host, HostKind, Model, Peer, PortKind, Switch};
use crate::names;
use crate::origin::Origin;
use crate::problem::{Code, FieldError, pointer_to};
use crate::spec::{Document, FabricSpec, NodeKind, PortKindSpec};

use self::nodes::NodeDecl;
use self::wire::Wiring;

/// Most nodes of a lab, and most links.
const MAX_NODES: usize = 10_000;
const MAX_LINKS: usize = 20_000;

/// Most tests of a file.
const MAX_TESTS: usize = 1_000;

/// So many mistakes are enough: more cost time, and nobody reads them.
const ENOUGH: usize = 20;

/// Expands a document.
///
/// # Errors
///
/// Everything that does not fit together, in no particular order.
pub fn expand(document: &Document) -> Result<Model, Vec<FieldError>> {
    let mut errors = Vec::new();
    let name = document.name.clone().unwrap_or_else(|| "lab".to_owned());
    if let Some(problem) = names::name_problem(&name) {
        errors.push(FieldError::new("/name", Code::WrongFormat, problem));
    }
    if !(1..=64).contains(&document.dataplane.workers) {
        let detail = format!(
            "{} workers are out of range [1, 64]",
            document.dataplane.workers
        );
        errors.push(FieldError::new(
            "/dataplane/workers",
            Code::OutOfRange,
            detail,
        ));
    }
    let nodes = nodes::expand(document, &mut errors);
    let wiring = links::expand(document, &nodes, &mut errors);
    let mut model = Model {
        name,
        seed: document.seed,
        fabric: match document.controller.fabric {
            FabricSpec::Auto => FabricMode::Auto,
            FabricSpec::None => FabricMode::None,
        },
        workers: document.dataplane.workers,
        spin: document.dataplane.spin.as_duration(),
        offloads: document.dataplane.offloads,
        tests: document.tests.clone(),
        verify: document.verify.iter().map(ToString::to_string).collect(),
        ..Model::default()
    };
    build(&mut model, &nodes, wiring);
    layers(&model, &nodes, &mut errors);
    address::assign(&mut model, &nodes, &mut errors);
    check::tests(document, &model, &mut errors);
    let impaired: Vec<&str> = model
        .links
        .values()
        .filter(|link| !link.impair_a.is_empty() || !link.impair_b.is_empty())
        .map(|link| link.name.as_str())
        .collect();
    if !impaired.is_empty() {
        let detail = format!(
            "impair is used for path computation only, packets are not impaired yet: {}",
            impaired.join(", ")
        );
        model.warnings.push(detail);
    }
    if errors.is_empty() {
        Ok(model)
    } else {
        Err(errors)
    }
}

/// Where nobody routes, a host without Ethernet cannot share its switch with Ethernet ports: a packet without addresses
/// of layer 2 fits none of them.
fn layers(model: &Model, nodes: &[NodeDecl], errors: &mut Vec<FieldError>) {
    if model.fabric == FabricMode::Auto {
        return;
    }
    for node in nodes {
        let Some(host) = model.hosts.get(&node.name) else {
            continue;
        };
        let bare = (host.interfaces.iter()).find(|interface| !interface.port_kind.is_l2());
        let Some(attachment) = bare.map(|interface| &interface.attachment) else {
            continue;
        };
        let ports = (model.switches.get(&attachment.switch)).map(|switch| switch.ports.values());
        let other = ports.into_iter().flatten().find(|port| match &port.peer {
            Peer::Switch { .. } => true,
            Peer::Host { host, interface } => {
                let mut interfaces = model
                    .hosts
                    .get(host)
                    .into_iter()
                    .flat_map(|h| &h.interfaces);
                interfaces.any(|known| known.name == *interface && known.port_kind.is_l2())
            }
        });
        if let Some(other) = other {
            let detail = format!(
                "`{}` has no Ethernet (`port: tun`), port {} of `{}` has, and with `fabric: none` nothing routes between them",
                node.name, other.name, attachment.switch
            );
            errors.push(FieldError::new(
                pointer_to(&node.pointer, "port"),
                Code::Conflict,
                detail,
            ));
        }
    }
}

/// Puts nodes and their wiring into the model; addresses come later.
fn build(model: &mut Model, nodes: &[NodeDecl], wiring: Wiring) {
    let Wiring {
        links,
        mut ports,
        mut interfaces,
        origins,
    } = wiring;
    model.links = links;
    model.origins.links = origins;
    let mut device_id = 0;
    for node in nodes {
        let labels: BTreeMap<String, String> = node.spec.labels.clone();
        let name = node.name.clone();
        let origin = Origin::from(node.pointer.as_str());
        model.origins.nodes.insert(name.clone(), origin);
        match node.kind {
            NodeKind::Switch => {
                device_id += 1;
                let switch = Switch {
                    name: name.clone(),
                    device_id: weft_proto::vocab::DeviceId(device_id),
                    labels,
                    ports: ports.remove(&name).unwrap_or_default(),
                };
                model.switches.insert(name, switch);
            }
            NodeKind::Host | NodeKind::Router => {
                let host = Host {
                    name: name.clone(),
                    kind: if node.kind == NodeKind::Router {
                        HostKind::Router
                    } else {
                        HostKind::Host
                    },
                    labels,
                    interfaces: interfaces.remove(&name).unwrap_or_default(),
                    listen: node.listen.clone(),
                    run: node.run.clone(),
                };
                model.hosts.insert(name, host);
            }
        }
    }
}

impl From<PortKindSpec> for PortKind {
    fn from(spec: PortKindSpec) -> Self {
        match spec {
            PortKindSpec::Tap => Self::Tap,
            PortKindSpec::Tun => Self::Tun,
            PortKindSpec::Veth => Self::Veth,
        }
    }
}

#[cfg(test)]
mod tests;
