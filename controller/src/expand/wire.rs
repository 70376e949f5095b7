//! Numbers and names for the ends of links, and the ports, interfaces and links that come of them.
//!
//! Ports are numbered by these rules, in this order: a port called `p9`, `eth9` or `port9` is number 9 where that is free;
//! the others take the least free number in file order; a port without a name is called `p` and its number.

use std::collections::{BTreeMap, BTreeSet};

use weft_proto::vocab::{MacAddr, PortNo};

use super::ENOUGH;
use super::links::{Draft, End};
use super::nodes::NodeDecl;
use crate::model::{Attachment, Endpoint, Interface, Link, Model, Peer, Port};
use crate::origin::Origin;
use crate::problem::{Code, FieldError, pointer_to};
use crate::spec::node::Mtu;
use crate::spec::{ImpairSpec, LinkState};

/// What is connected to what.
#[derive(Debug, Default)]
pub(super) struct Wiring {
    pub(super) links: BTreeMap<String, Link>,
    /// Ports by switch.
    pub(super) ports: BTreeMap<String, BTreeMap<PortNo, Port>>,
    /// Interfaces by host, in the order of its links.
    pub(super) interfaces: BTreeMap<String, Vec<Interface>>,
    /// Where links stand in the document, by name.
    pub(super) origins: BTreeMap<String, Origin>,
}

/// Largest IP packet between switches that nothing limits.
const UNLIMITED_MTU: u32 = 65_521;

/// Turns drafts into ports, interfaces and links.
pub(super) fn connect(
    nodes: &[NodeDecl],
    mut drafts: Vec<Draft<'_>>,
    errors: &mut Vec<FieldError>,
) -> Wiring {
    number_ports(nodes, &mut drafts);
    check_settings(nodes, &drafts, errors);
    wire(nodes, drafts, errors)
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
    // Numbers below these are taken: for a port with a name of its own, for one that is named by its number.
    let mut next = vec![[0; 2]; nodes.len()];
    for end in drafts.iter_mut().flat_map(|draft| &mut draft.ends) {
        let (numbers, taken) = (&mut numbers[end.node], &mut taken[end.node]);
        let next = &mut next[end.node][usize::from(end.interface.is_none())];
        if nodes[end.node].is_host() {
            if end.interface.is_none() {
                let is_free = |number: &u32| !taken.contains(&format!("eth{number}"));
                let number = (*next..u32::MAX).find(is_free).unwrap_or(u32::MAX);
                *next = number;
                let name = format!("eth{number}");
                taken.insert(name.clone());
                end.interface = Some(name);
            }
        } else if end.number.is_none() {
            let is_free = |number: &u32| {
                !numbers.contains(number)
                    && (end.interface.is_some() || !taken.contains(&format!("p{number}")))
            };
            let first: u32 = (*next).max(1);
            let number = (first..u32::MAX).find(is_free).unwrap_or(u32::MAX);
            *next = number;
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
    let mut ends_of: Vec<Vec<&End>> = vec![Vec::new(); nodes.len()];
    for end in drafts.iter().flat_map(|draft| &draft.ends) {
        ends_of[end.node].push(end);
    }
    for (node, ends) in nodes.iter().zip(&ends_of) {
        if node.spec.interfaces.is_empty() || ends.is_empty() {
            continue;
        }
        let linked = ends.iter().filter_map(|end| end.interface.as_deref());
        let linked: BTreeSet<&str> = linked.collect();
        for name in node.spec.interfaces.keys() {
            if errors.len() > ENOUGH {
                return;
            }
            if !linked.contains(name.as_str()) {
                let pointer = pointer_to(&pointer_to(&node.pointer, "interfaces"), name);
                let detail = format!("no link is on the interface `{name}` of `{}`", node.name);
                let linked = linked.iter().copied();
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
        let origin = Origin::from(pointer.as_str());
        wiring.origins.insert(name.clone(), origin);
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
