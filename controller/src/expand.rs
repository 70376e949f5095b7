//! From a document to a model: everything that was left open is decided here, by rules that depend on the file alone.
//!
//! Ranges become names, groups become settings, hosts without a link are attached to the switches in turn, ports get their
//! numbers and interfaces their names, MACs and addresses. The order of the file decides, so the same file always gives the
//! same model. Everything that does not fit is an error with its place; all of them are found in one pass.

mod address;
mod check;
mod links;
mod nodes;
mod wire;

use std::collections::BTreeMap;

use crate::model::{FabricMode, Host, HostKind, Model, PortKind, Switch};
use crate::names;
use crate::problem::{Code, FieldError};
use crate::spec::{Document, FabricSpec, NodeKind, PortKindSpec};

use self::nodes::NodeDecl;
use self::wire::Wiring;

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

/// Puts nodes and their wiring into the model; addresses come later.
fn build(model: &mut Model, nodes: &[NodeDecl], wiring: Wiring) {
    let Wiring {
        links,
        mut ports,
        mut interfaces,
    } = wiring;
    model.links = links;
    let mut device_id = 0;
    for node in nodes {
        let labels: BTreeMap<String, String> = node.spec.labels.clone();
        let name = node.name.clone();
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
