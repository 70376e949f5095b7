//! Links: ranges and meshes to pairs, hosts without a link to a switch.

use std::collections::{BTreeMap, BTreeSet};

use weft_proto::vocab::PortNo;

use super::nodes::NodeDecl;
use super::wire::{self, Wiring};
use super::{ENOUGH, MAX_LINKS};
use crate::names;
use crate::problem::{Code, FieldError, pointer_to};
use crate::spec::{Document, EndpointSpec, ImpairSpec, LinkSpec};

/// One end of a link before it has a number.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) node: usize,
    pub(super) interface: Option<String>,
    pub(super) number: Option<PortNo>,
    pub(super) impair: ImpairSpec,
    pub(super) pointer: String,
}

/// One link before its ports have numbers.
#[derive(Clone, Debug)]
pub(super) struct Draft<'a> {
    pub(super) name: Option<String>,
    pub(super) ends: [End; 2],
    pub(super) spec: &'a LinkSpec,
    pub(super) pointer: String,
}

/// All links, those to hosts that the file leaves to the lab included.
pub(super) fn expand(
    document: &Document,
    nodes: &[NodeDecl],
    errors: &mut Vec<FieldError>,
) -> Wiring {
    let mut drafting = Drafting {
        document,
        nodes,
        index: nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node.name.as_str(), index))
            .collect(),
        drafts: Vec::new(),
        linked: BTreeSet::new(),
        compared: 0,
        is_full: false,
        errors,
    };
    for (number, spec) in document.topology.links.iter().enumerate() {
        if drafting.errors.len() > ENOUGH {
            break;
        }
        let pointer = pointer_to("/topology/links", number);
        drafting.link(spec, &pointer);
    }
    let none = LinkSpec::default();
    drafting.attach_hosts(&none);
    drafting.check_interfaces();
    let Drafting { drafts, errors, .. } = drafting;
    wire::connect(nodes, drafts, errors)
}

struct Drafting<'a, 'e> {
    document: &'a Document,
    nodes: &'a [NodeDecl],
    index: BTreeMap<&'a str, usize>,
    drafts: Vec<Draft<'a>>,
    /// Pairs of nodes that have a link, the smaller index first.
    linked: BTreeSet<(usize, usize)>,
    /// How often a glob was compared with a name.
    compared: usize,
    /// There are as many links as there may be, and that is said.
    is_full: bool,
    errors: &'e mut Vec<FieldError>,
}

/// Most comparisons of globs with names.
const MAX_COMPARED: usize = 2_000_000;

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl<'a> Drafting<'a, '_> {
    fn link(&mut self, spec: &'a LinkSpec, pointer: &str) {
        if spec.metric == Some(0) {
            let detail = "the metric 0 is out of range [1, 4294967295]";
            self.error(&pointer_to(pointer, "metric"), Code::OutOfRange, detail);
        }
        match (spec.endpoints.as_slice(), spec.mesh.as_slice()) {
            ([a, b], []) => self.pairs(spec, a, b, pointer),
            ([], [one]) => self.mesh(spec, one, None, pointer),
            ([], [one, other]) => self.mesh(spec, one, Some(other), pointer),
            ([], []) => self.error(
                pointer,
                Code::MissingField,
                "a link wants `endpoints` or `mesh`",
            ),
            ([], sets) => {
                let detail = format!("`mesh` takes one set or two, not {}", sets.len());
                self.error(&pointer_to(pointer, "mesh"), Code::OutOfRange, detail);
            }
            (ends, []) => {
                let detail = format!("a link has two endpoints, not {}", ends.len());
                self.error(&pointer_to(pointer, "endpoints"), Code::OutOfRange, detail);
            }
            _ => self.error(
                pointer,
                Code::Conflict,
                "`endpoints` and `mesh` exclude each other",
            ),
        }
    }

    /// Two endpoints, each of them one or a range.
    fn pairs(&mut self, spec: &'a LinkSpec, a: &EndpointSpec, b: &EndpointSpec, pointer: &str) {
        let endpoints = pointer_to(pointer, "endpoints");
        let (Some(left), Some(right)) = (
            self.ends(a, &pointer_to(&endpoints, 0)),
            self.ends(b, &pointer_to(&endpoints, 1)),
        ) else {
            return;
        };
        let count = left.len().max(right.len());
        if left.len() != count && left.len() != 1 || right.len() != count && right.len() != 1 {
            let detail = format!(
                "`{a}` stands for {} ends and `{b}` for {}",
                left.len(),
                right.len()
            );
            return self.error(&endpoints, Code::Conflict, detail);
        }
        let names = match &spec.name {
            None => vec![None; count],
            Some(name) => match names::expand(name) {
                Ok(names) if names.len() == count => names.into_iter().map(Some).collect(),
                Ok(names) => {
                    let detail = format!("{} names for {count} links", names.len());
                    return self.error(&pointer_to(pointer, "name"), Code::Conflict, detail);
                }
                Err(error) => {
                    return self.error(
                        &pointer_to(pointer, "name"),
                        Code::WrongFormat,
                        error.to_string(),
                    );
                }
            },
        };
        let pick = |ends: &[End], at: usize| ends[if ends.len() == 1 { 0 } else { at }].clone();
        for (at, name) in names.into_iter().enumerate() {
            if self.errors.len() > ENOUGH {
                return;
            }
            self.draft(name, [pick(&left, at), pick(&right, at)], spec, pointer);
        }
    }

    /// What an endpoint stands for; `None` after an error.
    fn ends(&mut self, spec: &EndpointSpec, pointer: &str) -> Option<Vec<End>> {
        let written = match names::expand(&spec.to_string()) {
            Ok(written) => written,
            Err(error) => {
                self.error(pointer, Code::WrongFormat, error.to_string());
                return None;
            }
        };
        let mut ends = Vec::new();
        for text in &written {
            let EndpointSpec {
                node, interface, ..
            } = EndpointSpec::parse(text);
            let found = self.find(&node, pointer)?;
            if found.is_empty() {
                let detail = format!("there is no node `{node}`");
                let known = self.index.keys().copied().collect::<Vec<_>>();
                let mut error =
                    FieldError::new(pointer, Code::NoSuchNode, detail).with_allowed(&node, known);
                error.allowed.clear();
                self.errors.push(error);
                return None;
            }
            if let Some(problem) = interface.as_deref().and_then(names::interface_problem) {
                self.error(pointer, Code::WrongFormat, problem);
                return None;
            }
            ends.extend(found.into_iter().map(|node| End {
                node,
                interface: interface.clone(),
                number: None,
                impair: spec.impair.clone().unwrap_or_default(),
                pointer: pointer.to_owned(),
            }));
        }
        Some(ends)
    }

    /// Nodes by name or glob, in file order; `None` after an error.
    fn find(&mut self, pattern: &str, pointer: &str) -> Option<Vec<usize>> {
        let found = if names::is_glob(pattern) {
            self.compared += self.nodes.len();
            if self.compared > MAX_COMPARED {
                let detail = "the links' globs stand for too much: name groups instead";
                self.error(pointer, Code::OutOfRange, detail);
                return None;
            }
            let fits = |node: &NodeDecl| names::glob_matches(pattern, &node.name);
            self.nodes
                .iter()
                .enumerate()
                .filter(|(_, node)| fits(node))
                .map(|(index, _)| index)
                .collect()
        } else {
            self.index.get(pattern).copied().into_iter().collect()
        };
        Some(found)
    }

    /// Each of one set with each of another, or all pairs of one; pairs that are linked already are left out.
    fn mesh(&mut self, spec: &'a LinkSpec, one: &str, other: Option<&str>, pointer: &str) {
        if spec.name.is_some() {
            let detail = "a mesh has several links, they cannot share one name";
            return self.error(&pointer_to(pointer, "name"), Code::Conflict, detail);
        }
        let sets = pointer_to(pointer, "mesh");
        let Some(left) = self.set(one, &pointer_to(&sets, 0)) else {
            return;
        };
        let right = match other {
            None => left.clone(),
            Some(other) => match self.set(other, &pointer_to(&sets, 1)) {
                Some(set) => set,
                None => return,
            },
        };
        // Of one set with itself, each pair comes twice.
        if left.len().saturating_mul(right.len()) > 4 * MAX_LINKS {
            return self.too_many(&sets);
        }
        for &a in &left {
            for &b in &right {
                if self.errors.len() > ENOUGH {
                    return;
                }
                if a != b && !self.linked.contains(&pair(a, b)) {
                    let end = |node| End {
                        node,
                        interface: None,
                        number: None,
                        impair: ImpairSpec::default(),
                        pointer: sets.clone(),
                    };
                    self.draft(None, [end(a), end(b)], spec, pointer);
                }
            }
        }
    }

    /// The nodes of a group, a glob, a range or a name.
    fn set(&mut self, pattern: &str, pointer: &str) -> Option<Vec<usize>> {
        if self.document.topology.groups.contains_key(pattern) {
            let is_member = |node: &NodeDecl| node.spec.group.as_deref() == Some(pattern);
            return Some(
                self.nodes
                    .iter()
                    .enumerate()
                    .filter(|(_, node)| is_member(node))
                    .map(|(index, _)| index)
                    .collect(),
            );
        }
        let patterns = match names::expand(pattern) {
            Ok(patterns) => patterns,
            Err(error) => {
                self.error(pointer, Code::WrongFormat, error.to_string());
                return None;
            }
        };
        let mut found = Vec::new();
        for pattern in &patterns {
            let some = self.find(pattern, pointer)?;
            if some.is_empty() {
                let detail = format!("there is no node or group `{pattern}`");
                let known: Vec<&str> = self
                    .document
                    .topology
                    .groups
                    .keys()
                    .map(String::as_str)
                    .chain(self.index.keys().copied())
                    .collect();
                let mut error =
                    FieldError::new(pointer, Code::NoSuchNode, detail).with_allowed(pattern, known);
                error.allowed.clear();
                self.errors.push(error);
                return None;
            }
            found.extend(some);
        }
        found.dedup();
        Some(found)
    }

    fn draft(&mut self, name: Option<String>, ends: [End; 2], spec: &'a LinkSpec, pointer: &str) {
        let [a, b] = [&self.nodes[ends[0].node], &self.nodes[ends[1].node]];
        if ends[0].node == ends[1].node {
            let detail = format!("the link joins `{}` to itself", a.name);
            return self.error(pointer, Code::Conflict, detail);
        }
        if a.is_host() && b.is_host() {
            let detail = format!(
                "`{}` and `{}` are hosts: put a switch between them",
                a.name, b.name
            );
            return self.error(pointer, Code::Conflict, detail);
        }
        if self.drafts.len() >= MAX_LINKS {
            if !std::mem::replace(&mut self.is_full, true) {
                self.too_many(pointer);
            }
            return;
        }
        self.linked.insert(pair(ends[0].node, ends[1].node));
        self.drafts.push(Draft {
            name,
            ends,
            spec,
            pointer: pointer.to_owned(),
        });
    }

    fn too_many(&mut self, pointer: &str) {
        let detail = format!("the lab has more than {MAX_LINKS} links");
        self.error(pointer, Code::OutOfRange, &detail);
    }

    /// Gives every host that no link names a link to a switch.
    fn attach_hosts(&mut self, spec: &'a LinkSpec) {
        let linked: BTreeSet<usize> = self
            .drafts
            .iter()
            .flat_map(|draft| [draft.ends[0].node, draft.ends[1].node])
            .collect();
        // A host whose link was refused is not a host without one.
        let named: BTreeSet<String> = self
            .document
            .topology
            .links
            .iter()
            .flat_map(|link| &link.endpoints)
            .filter_map(|end| names::expand(&end.node).ok())
            .flatten()
            .collect();
        let switches: Vec<usize> = (0..self.nodes.len())
            .filter(|&index| !self.nodes[index].is_host())
            .collect();
        let mut turn = switches.iter().cycle();
        for (index, node) in self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.is_host())
        {
            let attach = pointer_to(&node.pointer, "attach");
            if self.errors.len() > ENOUGH {
                break;
            }
            if linked.contains(&index) {
                if node.spec.attach.is_some() {
                    let detail = format!("a link names `{}` already", node.name);
                    self.error(&attach, Code::Conflict, detail);
                }
                continue;
            }
            if named.contains(&node.name) {
                continue;
            }
            let (switch, port) = match &node.spec.attach {
                Some(text) => {
                    let EndpointSpec {
                        node: name,
                        interface,
                        ..
                    } = EndpointSpec::parse(text);
                    match self.index.get(name.as_str()) {
                        Some(&switch) if !self.nodes[switch].is_host() => (switch, interface),
                        _ => {
                            let detail = format!("there is no switch `{name}`");
                            let known: Vec<&str> = switches
                                .iter()
                                .map(|&switch| self.nodes[switch].name.as_str())
                                .collect();
                            let error = FieldError::new(&attach, Code::NoSuchSwitch, detail)
                                .with_allowed(&name, known);
                            self.errors.push(error);
                            continue;
                        }
                    }
                }
                None => match turn.next() {
                    Some(&switch) => (switch, None),
                    None => {
                        let detail = format!("there is no switch to attach `{}` to", node.name);
                        self.error(&node.pointer, Code::NoSuchSwitch, detail);
                        continue;
                    }
                },
            };
            if let Some(problem) = port.as_deref().and_then(names::interface_problem) {
                self.error(&attach, Code::WrongFormat, problem);
                continue;
            }
            let end = |node, interface| End {
                node,
                interface,
                number: None,
                impair: ImpairSpec::default(),
                pointer: attach.clone(),
            };
            self.draft(
                None,
                [end(index, None), end(switch, port)],
                spec,
                &node.pointer,
            );
        }
    }

    /// Refuses two links on one interface.
    fn check_interfaces(&mut self) {
        let mut taken: BTreeSet<(usize, &str)> = BTreeSet::new();
        let mut found = Vec::new();
        for end in self.drafts.iter().flat_map(|draft| &draft.ends) {
            if let Some(interface) = &end.interface
                && !taken.insert((end.node, interface))
            {
                let detail = format!(
                    "two links are on `{}:{interface}`",
                    self.nodes[end.node].name
                );
                found.push(FieldError::new(&end.pointer, Code::Duplicate, detail));
            }
        }
        self.errors.append(&mut found);
    }

    fn error(&mut self, pointer: &str, code: Code, detail: impl Into<String>) {
        self.errors.push(FieldError::new(pointer, code, detail));
    }
}
