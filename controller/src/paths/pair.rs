//! The cheapest pair of paths that share no link, or no node: two units of flow at the least cost.
//!
//! Each node becomes two, joined by an arc that carries two units, or one where nodes must not be shared. The cheapest path is
//! filled with one unit; then the cheapest way for a second one, which may push the first back, is found on what remains.
//! That is Suurballe's idea (1974) with the Bellman-Ford algorithm, which takes the negative costs of pushing back as they are.

use super::search::{Bans, Route, View};

/// What a pair must not share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Apart {
    Links,
    Nodes,
}

#[derive(Clone, Copy)]
struct Arc {
    to: usize,
    cost: i64,
    /// Units that may still pass.
    left: u8,
    /// The link that it stands for; `None` for an arc within a node.
    edge: Option<usize>,
}

/// A network of arcs in pairs: arc `i ^ 1` is the way back of arc `i`.
struct Network {
    arcs: Vec<Arc>,
    out: Vec<Vec<usize>>,
}

impl Network {
    fn new(view: &View<'_>, bans: &Bans, from: usize, to: usize, apart: Apart) -> Self {
        let mut network = Self {
            arcs: Vec::new(),
            out: vec![Vec::new(); view.len() * 2],
        };
        for node in 0..view.len() {
            let is_end = node == from || node == to;
            let units = match apart {
                _ if is_end => 2,
                _ if !view.is_transit(node) || bans.nodes[node] => continue,
                Apart::Links => 2,
                Apart::Nodes => 1,
            };
            network.add(inner(node), outer(node), 0, units, None);
        }
        for (edge, a, b) in view.ends() {
            if !bans.edges[edge] {
                let cost = i64::from(view.edge(edge).metric);
                network.add(outer(a), inner(b), cost, 1, Some(edge));
                network.add(outer(b), inner(a), cost, 1, Some(edge));
            }
        }
        network
    }

    fn add(&mut self, from: usize, to: usize, cost: i64, units: u8, edge: Option<usize>) {
        self.out[from].push(self.arcs.len());
        self.arcs.push(Arc {
            to,
            cost,
            left: units,
            edge,
        });
        self.out[to].push(self.arcs.len());
        self.arcs.push(Arc {
            to: from,
            cost: -cost,
            left: 0,
            edge,
        });
    }

    /// Sends one more unit on the cheapest way; whether there is one.
    fn augment(&mut self, from: usize, to: usize) -> bool {
        let mut best: Vec<Option<i64>> = vec![None; self.out.len()];
        let mut by: Vec<Option<usize>> = vec![None; self.out.len()];
        best[from] = Some(0);
        let mut changed = vec![from];
        while !changed.is_empty() {
            let mut next = Vec::new();
            for node in changed {
                let Some(cost) = best[node] else { continue };
                for &index in &self.out[node] {
                    let arc = self.arcs[index];
                    let reached = cost + arc.cost;
                    if arc.left > 0 && best[arc.to].is_none_or(|known| reached < known) {
                        best[arc.to] = Some(reached);
                        by[arc.to] = Some(index);
                        next.push(arc.to);
                    }
                }
            }
            next.sort_unstable();
            next.dedup();
            changed = next;
        }
        if best[to].is_none() {
            return false;
        }
        let mut node = to;
        while let Some(index) = by[node].filter(|_| node != from) {
            self.arcs[index].left -= 1;
            self.arcs[index ^ 1].left += 1;
            node = self.arcs[index ^ 1].to;
        }
        true
    }

    /// Takes one unit out, as the links on its way.
    fn take(&mut self, from: usize, to: usize) -> Vec<usize> {
        let mut edges = Vec::new();
        let mut node = from;
        while node != to {
            // Forward arcs are even; what passed one is what its way back may return.
            let used = self.out[node]
                .iter()
                .copied()
                .find(|index| index % 2 == 0 && self.arcs[index ^ 1].left > 0);
            let Some(index) = used else { break };
            self.arcs[index ^ 1].left -= 1;
            edges.extend(self.arcs[index].edge);
            node = self.arcs[index].to;
        }
        edges
    }
}

fn inner(node: usize) -> usize {
    node * 2
}

fn outer(node: usize) -> usize {
    node * 2 + 1
}

/// The pair of least cost together, cheaper one first; nothing where there is no pair.
pub(super) fn cheapest(
    view: &View<'_>,
    bans: &Bans,
    from: usize,
    to: usize,
    apart: Apart,
) -> Vec<Route> {
    if from == to || bans.nodes[from] || bans.nodes[to] {
        return Vec::new();
    }
    let mut network = Network::new(view, bans, from, to, apart);
    let (source, sink) = (outer(from), inner(to));
    if !(network.augment(source, sink) && network.augment(source, sink)) {
        return Vec::new();
    }
    let mut pair: Vec<Route> = (0..2)
        .map(|_| view.route(from, network.take(source, sink)))
        .collect();
    pair.sort_by(|a, b| (a.cost, &a.nodes, &a.edges).cmp(&(b.cost, &b.nodes, &b.edges)));
    pair
}
