//! Links: ranges and meshes to pairs, hosts without a link to a switch, names and numbers to ports.
//!
//! Ports are numbered by these rules, in this order: a port called `p9`, `eth9` or `port9` is number 9 where that is free;
//! the others take the least free number in file order; a port without a name is called `p` and its number.

use std::collections::{BTreeMap, BTreeSet};

use weft_proto::vocab::{MacAddr, PortNo};

use super::nodes::NodeDecl;
use crate::model::{Attachment, Endpoint, Interface, Link, Model, Peer, Port};
use crate::names;
use crate::problem::{Code, FieldError, pointer_to};
use crate::spec::node::Mtu;
use crate::spec::{Document, EndpointSpec, ImpairSpec, LinkSpec, LinkState};

/// What is connected to what.
#[derive(Debug, Default)]
pub(super) struct Wiring {
    pub(super) links: BTreeMap<String, Link>,
    /// Ports by switch.
    pub(super) ports: BTreeMap<String, BTreeMap<PortNo, Port>>,
    /// Interfaces by host, in the order of its links.
    pub(super) interfaces: BTreeMap<String, Vec<Interface>>,
}

/// One end of a link before it has a number.
#[derive(Clone, Debug)]
struct End {
    node: usize,
    interface: Option<String>,
    number: Option<PortNo>,
    impair: ImpairSpec,
    pointer: String,
}

/// One link before its ports have numbers.
#[derive(Clone, Debug)]
struct Draft<'a> {
    name: Option<String>,
    ends: [End; 2],
    spec: &'a LinkSpec,
    pointer: String,
}

/// Largest IP packet between switches that nothing limits.
const UNLIMITED_MTU: u32 = 65_521;

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
        errors,
    };
    for (number, spec) in document.topology.links.iter().enumerate() {
        let pointer = pointer_to("/topology/links", number);
        drafting.link(spec, &pointer);
    }
    let none = LinkSpec::default();
    drafting.attach_hosts(&none);
    drafting.check_interfaces();
    let Drafting {
        mut drafts, errors, ..
    } = drafting;
    number_ports(nodes, &mut drafts);
    check_settings(nodes, &drafts, errors);
    wire(nodes, drafts, errors)
}

struct Drafting<'a, 'e> {
    document: &'a Document,
    nodes: &'a [NodeDecl],
    index: BTreeMap<&'a str, usize>,
    drafts: Vec<Draft<'a>>,
    errors: &'e mut Vec<FieldError>,
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
            let found = self.find(&node);
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

    /// Nodes by name or glob, in file order.
    fn find(&self, pattern: &str) -> Vec<usize> {
        if names::is_glob(pattern) {
            let fits = |node: &NodeDecl| names::glob_matches(pattern, &node.name);
            self.nodes
                .iter()
                .enumerate()
                .filter(|(_, node)| fits(node))
                .map(|(index, _)| index)
                .collect()
        } else {
            self.index.get(pattern).copied().into_iter().collect()
        }
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
        let pair = |a: usize, b: usize| (a.min(b), a.max(b));
        let mut linked: BTreeSet<_> = self
            .drafts
            .iter()
            .map(|draft| pair(draft.ends[0].node, draft.ends[1].node))
            .collect();
        for &a in &left {
            for &b in &right {
                if a != b && linked.insert(pair(a, b)) {
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
            let some = self.find(pattern);
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
        self.drafts.push(Draft {
            name,
            ends,
            spec,
            pointer: pointer.to_owned(),
        });
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

/// Gives every switch port its number and every end its name.
fn number_ports(nodes: &[NodeDecl], drafts: &mut [Draft<'_>]) {
    let mut numbers: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); nodes.len()];
    let mut taken: Vec<BTreeSet<String>> = vec![BTreeSet::new(); nodes.len()];
    for end in drafts.iter_mut().flat_map(|draft| &mut draft.ends) {
        let Some(interface) = &end.interface else {
            continue;
        };
        taken[end.node].insert(interface.clone());
        if let Some(number) =
            number_in(interface).filter(|number| !numbers[end.node].contains(number))
            && !nodes[end.node].is_host()
        {
            numbers[end.node].insert(number);
            end.number = Some(PortNo(number));
        }
    }
    for end in drafts.iter_mut().flat_map(|draft| &mut draft.ends) {
        let (numbers, taken) = (&mut numbers[end.node], &mut taken[end.node]);
        if nodes[end.node].is_host() {
            if end.interface.is_none() {
                let name = (0..)
                    .map(|number| format!("eth{number}"))
                    .find(|name| !taken.contains(name));
                taken.extend(name.clone());
                end.interface = name;
            }
        } else if end.number.is_none() {
            let is_free = |number: &u32| {
                !numbers.contains(number)
                    && (end.interface.is_some() || !taken.contains(&format!("p{number}")))
            };
            let number = (1..=u32::MAX).find(is_free).unwrap_or(u32::MAX);
            numbers.insert(number);
            end.number = Some(PortNo(number));
            if end.interface.is_none() {
                let name = format!("p{number}");
                taken.insert(name.clone());
                end.interface = Some(name);
            }
        }
    }
}

/// Refuses settings of interfaces that no link is on.
fn check_settings(nodes: &[NodeDecl], drafts: &[Draft<'_>], errors: &mut Vec<FieldError>) {
    for (index, node) in nodes.iter().enumerate() {
        let mine = || {
            drafts
                .iter()
                .flat_map(|draft| &draft.ends)
                .filter(|end| end.node == index)
        };
        for name in node.spec.interfaces.keys() {
            if mine().next().is_some() && mine().all(|end| end.interface.as_ref() != Some(name)) {
                let pointer = pointer_to(&pointer_to(&node.pointer, "interfaces"), name);
                let detail = format!("no link is on the interface `{name}` of `{}`", node.name);
                let linked = mine().filter_map(|end| end.interface.clone());
                errors.push(
                    FieldError::new(pointer, Code::InvalidName, detail).with_allowed(name, linked),
                );
            }
        }
    }
}

/// The number that a port's name says.
fn number_in(name: &str) -> Option<u32> {
    let digits = ["port", "eth", "p"]
        .into_iter()
        .find_map(|prefix| name.strip_prefix(prefix))?;
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits
        .parse()
        .ok()
        .filter(|number| is_plain && (1..=65_535).contains(number))
}

/// Makes links, ports and interfaces of numbered drafts.
fn wire(nodes: &[NodeDecl], drafts: Vec<Draft<'_>>, errors: &mut Vec<FieldError>) -> Wiring {
    let mut wiring = Wiring::default();
    for Draft {
        name,
        ends,
        spec,
        pointer,
    } in drafts
    {
        let shared = spec.impair.clone().unwrap_or_default();
        let [a, b] = ends.each_ref().map(|end| Endpoint {
            node: nodes[end.node].name.clone(),
            interface: end.interface.clone().unwrap_or_default(),
            port: end.number,
        });
        let [impair_a, impair_b] = ends.each_ref().map(|end| lay_over(&shared, &end.impair));
        let name = name.unwrap_or_else(|| format!("{a}--{b}"));
        if let Some(problem) = link_name_problem(&name) {
            errors.push(FieldError::new(
                pointer_to(&pointer, "name"),
                Code::WrongFormat,
                problem,
            ));
        }
        let mtu = link_mtu(nodes, &ends, &impair_a, &impair_b);
        for (end, here, there) in [(&ends[0], &a, &b), (&ends[1], &b, &a)] {
            let Some(number) = here.port else { continue };
            let peer = match there.port {
                Some(port) => Peer::Switch {
                    switch: there.node.clone(),
                    port,
                },
                None => {
                    let interface = interface(nodes, &ends, there, here, number, mtu);
                    wiring
                        .interfaces
                        .entry(there.node.clone())
                        .or_default()
                        .push(interface);
                    Peer::Host {
                        host: there.node.clone(),
                        interface: there.interface.clone(),
                    }
                }
            };
            let port = Port {
                name: here.interface.clone(),
                peer,
                link: name.clone(),
                mtu,
            };
            wiring
                .ports
                .entry(nodes[end.node].name.clone())
                .or_default()
                .insert(number, port);
        }
        let link = Link {
            name: name.clone(),
            metric: spec.metric.unwrap_or(1).max(1),
            srlgs: spec.srlgs.clone(),
            // What the file says, else what the slower direction lets through.
            capacity_bps: spec
                .capacity
                .or_else(|| [impair_a.rate, impair_b.rate].into_iter().flatten().min())
                .map(|rate| rate.0),
            latency: impair_a
                .delay
                .max(impair_b.delay)
                .map(crate::quantity::TimeSpan::as_duration),
            up: spec.state.unwrap_or_default() == LinkState::Up,
            a,
            b,
            impair_a,
            impair_b,
        };
        if wiring.links.insert(name.clone(), link).is_some() {
            errors.push(FieldError::new(
                pointer_to(&pointer, "name"),
                Code::Duplicate,
                format!("two links are called `{name}`"),
            ));
        }
    }
    wiring
}

fn interface(
    nodes: &[NodeDecl],
    ends: &[End; 2],
    here: &Endpoint,
    switch: &Endpoint,
    port: PortNo,
    link_mtu: u32,
) -> Interface {
    let node = ends
        .iter()
        .map(|end| &nodes[end.node])
        .find(|node| node.is_host());
    Interface {
        name: here.interface.clone(),
        mac: MacAddr::default(),
        addresses: Vec::new(),
        gateways: Vec::new(),
        mtu: node.map_or(link_mtu, |node| host_mtu(node, &here.interface)),
        port_kind: node
            .and_then(|node| node.spec.port)
            .map(Into::into)
            .unwrap_or_default(),
        network: Model::DEFAULT_NETWORK.to_owned(),
        attachment: Attachment {
            switch: switch.node.clone(),
            port,
        },
    }
}

fn host_mtu(node: &NodeDecl, interface: &str) -> u32 {
    let own = node
        .spec
        .interfaces
        .get(interface)
        .and_then(|spec| spec.mtu);
    own.or(node.spec.mtu).unwrap_or(Mtu::DEFAULT).bytes()
}

/// The least of what both ends and the impairments allow.
fn link_mtu(
    nodes: &[NodeDecl],
    ends: &[End; 2],
    impair_a: &ImpairSpec,
    impair_b: &ImpairSpec,
) -> u32 {
    let of_end = |end: &End| {
        let node = &nodes[end.node];
        if node.is_host() {
            host_mtu(node, end.interface.as_deref().unwrap_or_default())
        } else {
            node.spec.mtu.map_or(UNLIMITED_MTU, Mtu::bytes)
        }
    };
    let impaired = [impair_a.mtu, impair_b.mtu]
        .into_iter()
        .flatten()
        .map(Mtu::bytes);
    ends.iter()
        .map(of_end)
        .chain(impaired)
        .min()
        .unwrap_or(UNLIMITED_MTU)
}

/// The impairments of a link, and over them those of one end.
fn lay_over(base: &ImpairSpec, over: &ImpairSpec) -> ImpairSpec {
    let ImpairSpec {
        rate,
        delay,
        jitter,
        distribution,
        correlation,
        loss,
        reorder,
        duplicate,
        corrupt,
        queue,
        mtu,
    } = over.clone();
    ImpairSpec {
        rate: rate.or(base.rate),
        delay: delay.or(base.delay),
        jitter: jitter.or(base.jitter),
        distribution: distribution.or(base.distribution),
        correlation: correlation.or(base.correlation),
        loss: loss.or(base.loss),
        reorder: reorder.or(base.reorder),
        duplicate: duplicate.or(base.duplicate),
        corrupt: corrupt.or(base.corrupt),
        queue: queue.or(base.queue),
        mtu: mtu.or(base.mtu),
    }
}

fn link_name_problem(name: &str) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    let wrong = name.chars().find(|c| !is_allowed(*c));
    match wrong {
        Some(wrong) => Some(format!("the link name `{name}` contains `{wrong}`")),
        None if name.is_empty() || name.len() > 253 || name == "." || name == ".." => {
            Some(format!("`{name}` is no name for a link"))
        }
        None => None,
    }
}
