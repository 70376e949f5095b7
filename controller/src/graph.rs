//! The topology as a graph with stable names, in which [`crate::paths`] searches. Forwarding has its own, by index and
//! port: `compile/spf.rs`.
//!
//! Every answer is a function of names alone: nodes and links are visited in the order of their names, so the order in a
//! file, a restart or a link that came back changes no tie. A host is never crossed; a path may only begin or end at it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use petgraph::stable_graph::{EdgeIndex, NodeIndex, StableUnGraph};
use petgraph::visit::EdgeRef;

use crate::model::{Endpoint, Link, Model};

/// Nodes and links with their state.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    inner: StableUnGraph<Node, Edge>,
    nodes: BTreeMap<String, NodeIndex>,
    links: BTreeMap<String, EdgeIndex>,
}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether packets for others may cross it: switches, not hosts.
    pub transit: bool,
}

/// A link of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Its name.
    pub name: String,
    /// One end.
    pub a: Endpoint,
    /// The other end.
    pub b: Endpoint,
    /// Cost of crossing it, 1 and up.
    pub metric: u32,
    /// Groups of links that fail together.
    pub srlgs: BTreeSet<String>,
    /// Bits per second, where known.
    pub capacity_bps: Option<u64>,
    /// Time on the way, where known.
    pub latency: Option<Duration>,
    /// Whether it carries packets.
    pub up: bool,
}

impl Graph {
    /// The graph of a model, with every link in its declared state.
    pub fn new(model: &Model) -> Self {
        let mut graph = Self::default();
        for name in model.switches.keys() {
            graph.add_node(name, true);
        }
        for name in model.hosts.keys() {
            graph.add_node(name, false);
        }
        for link in model.links.values() {
            graph.add_link(link);
        }
        graph
    }

    /// Adds a node; one that exists stays as it is.
    pub fn add_node(&mut self, name: &str, transit: bool) {
        if !self.nodes.contains_key(name) {
            let index = self.inner.add_node(Node {
                name: name.to_owned(),
                transit,
            });
            self.nodes.insert(name.to_owned(), index);
        }
    }

    /// Adds a link, or replaces the one of that name. A link to a node that does not exist is left out.
    pub fn add_link(&mut self, link: &Link) {
        let (Some(&a), Some(&b)) = (self.nodes.get(&link.a.node), self.nodes.get(&link.b.node))
        else {
            return;
        };
        self.remove_link(&link.name);
        let edge = Edge {
            name: link.name.clone(),
            a: link.a.clone(),
            b: link.b.clone(),
            metric: link.metric.max(1),
            srlgs: link.srlgs.iter().cloned().collect(),
            capacity_bps: link.capacity_bps,
            latency: link.latency,
            up: link.up,
        };
        let index = self.inner.add_edge(a, b, edge);
        self.links.insert(link.name.clone(), index);
    }

    /// Removes a link; whether there was one.
    pub fn remove_link(&mut self, name: &str) -> bool {
        self.links
            .remove(name)
            .is_some_and(|index| self.inner.remove_edge(index).is_some())
    }

    /// Says whether a link carries packets. Returns whether that was news; `false` too where there is no such link.
    pub fn set_link(&mut self, name: &str, up: bool) -> bool {
        let Some(edge) = self
            .links
            .get(name)
            .and_then(|index| self.inner.edge_weight_mut(*index))
        else {
            return false;
        };
        std::mem::replace(&mut edge.up, up) != up
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes
            .get(name)
            .and_then(|index| self.inner.node_weight(*index))
    }

    /// A link by its name, or by either endpoint written `node:interface`.
    pub fn link(&self, name: &str) -> Option<&Edge> {
        let by_name = self
            .links
            .get(name)
            .and_then(|index| self.inner.edge_weight(*index));
        by_name.or_else(|| {
            let (node, interface) = name.split_once(':')?;
            let is_end = |end: &Endpoint| end.node == node && end.interface == interface;
            self.links().find(|edge| is_end(&edge.a) || is_end(&edge.b))
        })
    }

    /// All nodes in the order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .values()
            .filter_map(|index| self.inner.node_weight(*index))
    }

    /// All links in the order of their names.
    pub fn links(&self) -> impl Iterator<Item = &Edge> {
        self.links
            .values()
            .filter_map(|index| self.inner.edge_weight(*index))
    }

    /// The links of a node that are up, with the neighbour's name, in the order of (neighbour, link).
    pub fn neighbours(&self, node: &str) -> Vec<(&str, &Edge)> {
        let Some(&index) = self.nodes.get(node) else {
            return Vec::new();
        };
        let mut found: Vec<(&str, &Edge)> = self
            .inner
            .edges(index)
            .filter(|edge| edge.weight().up)
            .map(|edge| {
                let other = if edge.source() == index {
                    edge.target()
                } else {
                    edge.source()
                };
                (self.inner[other].name.as_str(), edge.weight())
            })
            .filter(|(other, _)| *other != node)
            .collect();
        found.sort_by(|(m, a), (n, b)| (m, &a.name).cmp(&(n, &b.name)));
        found
    }

    /// Whether packets for others may cross a node.
    pub fn is_transit(&self, node: &str) -> bool {
        self.node(node).is_some_and(|node| node.transit)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use weft_proto::vocab::PortNo;

    use super::*;

    /// A graph from `a-b` or `a-b*metric` words; names that begin with `h` are hosts.
    pub(crate) fn graph(text: &str) -> Graph {
        let mut graph = Graph::default();
        for (number, word) in text.split_whitespace().enumerate() {
            let (ends, metric) = word.split_once('*').unwrap_or((word, "1"));
            let (a, b) = ends.split_once('-').unwrap();
            let end = |node: &str| Endpoint {
                node: node.to_owned(),
                interface: format!("p{number}"),
                port: Some(PortNo(u32::try_from(number).unwrap() + 1)),
            };
            for node in [a, b] {
                graph.add_node(node, !node.starts_with('h'));
            }
            graph.add_link(&Link {
                name: format!("l{number}"),
                a: end(a),
                b: end(b),
                metric: metric.parse().unwrap(),
                srlgs: Vec::new(),
                capacity_bps: None,
                latency: None,
                up: true,
                impair_a: Default::default(),
                impair_b: Default::default(),
            });
        }
        graph
    }

    fn around(graph: &Graph, node: &str) -> Vec<(String, String)> {
        graph
            .neighbours(node)
            .into_iter()
            .map(|(name, edge)| (name.to_owned(), edge.name.clone()))
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(node, link)| (String::from(*node), String::from(*link)))
            .collect()
    }

    #[test]
    fn neighbours_come_in_the_order_of_names_with_each_of_their_links() {
        let graph = graph("a-c a-b b-a a-h1 c-b");
        let expected = [("b", "l1"), ("b", "l2"), ("c", "l0"), ("h1", "l3")];
        assert_eq!(around(&graph, "a"), pairs(&expected));
        assert!(around(&graph, "nobody").is_empty());
        assert!(graph.is_transit("a") && !graph.is_transit("h1"));
    }

    #[test]
    fn a_link_that_is_down_leads_nowhere_until_it_is_up() {
        let mut graph = graph("a-b a-b");
        assert!(graph.set_link("l0", false));
        assert!(!graph.set_link("l0", false));
        assert!(!graph.set_link("nothing", false));
        assert_eq!(around(&graph, "a"), pairs(&[("b", "l1")]));
        assert!(graph.remove_link("l1"));
        assert!(around(&graph, "b").is_empty());
        assert!(graph.set_link("l0", true));
        assert_eq!(around(&graph, "b"), pairs(&[("a", "l0")]));
    }
}
