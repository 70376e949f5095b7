//! The search: loop-free paths one by one, in the order of (cost, nodes, links).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::MAX_ROUNDS;
use crate::graph::{Edge, Graph};

/// The links of a graph that count, with numbers instead of names. Numbers are in the order of the names.
pub(super) struct View<'g> {
    names: Vec<&'g str>,
    index: BTreeMap<&'g str, usize>,
    transit: Vec<bool>,
    edges: Vec<&'g Edge>,
    /// For each node its neighbours, sorted.
    neighbours: Vec<Vec<Hop>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hop {
    node: usize,
    edge: usize,
}

impl<'g> View<'g> {
    pub(super) fn new(graph: &'g Graph, counts: impl Fn(&Edge) -> bool) -> Self {
        let names: Vec<&str> = graph.nodes().map(|node| node.name.as_str()).collect();
        let index: BTreeMap<&str, usize> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (*name, at))
            .collect();
        let edges: Vec<&Edge> = graph.links().filter(|edge| counts(edge)).collect();
        let mut neighbours = vec![Vec::new(); names.len()];
        for (number, edge) in edges.iter().enumerate() {
            let ends = (
                index.get(edge.a.node.as_str()),
                index.get(edge.b.node.as_str()),
            );
            if let (Some(&a), Some(&b)) = ends
                && a != b
            {
                neighbours[a].push(Hop {
                    node: b,
                    edge: number,
                });
                neighbours[b].push(Hop {
                    node: a,
                    edge: number,
                });
            }
        }
        neighbours.iter_mut().for_each(|hops| hops.sort_unstable());
        Self {
            transit: graph.nodes().map(|node| node.transit).collect(),
            names,
            index,
            edges,
            neighbours,
        }
    }

    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    pub(super) fn name(&self, node: usize) -> &'g str {
        self.names[node]
    }

    pub(super) fn edge(&self, edge: usize) -> &'g Edge {
        self.edges[edge]
    }

    pub(super) fn edges(&self) -> impl Iterator<Item = &'g Edge> {
        self.edges.iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn is_transit(&self, node: usize) -> bool {
        self.transit[node]
    }

    /// Every link with the numbers of its ends.
    pub(super) fn ends(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.edges.iter().enumerate().filter_map(|(edge, facts)| {
            let (a, b) = (self.index(&facts.a.node)?, self.index(&facts.b.node)?);
            (a != b).then_some((edge, a, b))
        })
    }

    /// The path along links.
    pub(super) fn route(&self, from: usize, edges: Vec<usize>) -> Route {
        let mut route = Route {
            nodes: vec![from],
            edges: Vec::new(),
            cost: 0,
            latency: 0,
        };
        let mut at = self.names[from];
        for edge in edges {
            let facts = self.edges[edge];
            at = if facts.a.node == at {
                facts.b.node.as_str()
            } else {
                facts.a.node.as_str()
            };
            route.nodes.extend(self.index(at));
            route.cost += u64::from(facts.metric);
            route.latency = route.latency.saturating_add(self.latency(edge));
            route.edges.push(edge);
        }
        route
    }

    fn latency(&self, edge: usize) -> u64 {
        self.edges[edge].latency.map_or(0, |latency| {
            u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)
        })
    }
}

/// Nodes and links that must not be used.
#[derive(Clone)]
pub(super) struct Bans {
    pub(super) nodes: Vec<bool>,
    pub(super) edges: Vec<bool>,
}

impl Bans {
    pub(super) fn none(view: &View<'_>) -> Self {
        Self {
            nodes: vec![false; view.names.len()],
            edges: vec![false; view.edges.len()],
        }
    }
}

/// A path by numbers.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) nodes: Vec<usize>,
    pub(super) edges: Vec<usize>,
    pub(super) cost: u64,
    pub(super) latency: u64,
}

/// The beginning of a path. Ordered by its value first, then by names, so that equals come in a fixed order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Beginning {
    /// Its cost and at least that of the way on.
    value: u64,
    nodes: Vec<usize>,
    edges: Vec<usize>,
    cost: u64,
    latency: u64,
    /// How many of the nodes to cross are crossed.
    crossed: usize,
}

/// Yields paths in the order of (cost, nodes, links).
pub(super) struct Search<'v, 'g> {
    view: &'v View<'g>,
    to: usize,
    via: Vec<usize>,
    max_latency: Option<u64>,
    bans: Bans,
    heap: BinaryHeap<Reverse<Beginning>>,
    rounds: usize,
}

impl<'v, 'g> Search<'v, 'g> {
    pub(super) fn new(
        view: &'v View<'g>,
        from: usize,
        to: usize,
        via: &[usize],
        max_latency: Option<u64>,
        bans: Bans,
    ) -> Self {
        // Crossing the ends needs no detour.
        let via = via
            .iter()
            .copied()
            .filter(|&node| node != from && node != to)
            .collect();
        let mut search = Self {
            view,
            to,
            via,
            max_latency,
            bans,
            heap: BinaryHeap::new(),
            rounds: 0,
        };
        if !search.bans.nodes[from] && !search.bans.nodes[to] {
            let start = Beginning {
                value: 0,
                nodes: vec![from],
                edges: Vec::new(),
                cost: 0,
                latency: 0,
                crossed: 0,
            };
            search.push(start);
        }
        search
    }

    /// Whether the last answer was given up on, not found to be none.
    pub(super) fn gave_up(&self) -> bool {
        self.rounds >= MAX_ROUNDS
    }

    /// Keeps a beginning if a path can come of it.
    fn push(&mut self, mut beginning: Beginning) {
        if let Some(value) = self.value(&beginning) {
            beginning.value = value;
            self.heap.push(Reverse(beginning));
        }
    }

    /// The least cost of a whole path that begins so; `None` where there is none.
    fn value(&self, beginning: &Beginning) -> Option<u64> {
        let end = *beginning.nodes.last()?;
        let mut used = self.bans.nodes.clone();
        for &node in &beginning.nodes {
            used[node] = true;
        }
        let stops: Vec<usize> = self.via[beginning.crossed..]
            .iter()
            .copied()
            .chain([self.to])
            .collect();
        let mut least = |weight: &dyn Fn(usize) -> u64| {
            let (mut sum, mut at) = (0_u64, end);
            for &stop in &stops {
                sum = sum.saturating_add(self.distance(at, stop, &mut used, weight)?);
                at = stop;
            }
            Some(sum)
        };
        let cost = least(&|edge| u64::from(self.view.edges[edge].metric))?;
        if let Some(most) = self.max_latency {
            let latency = least(&|edge| self.view.latency(edge))?;
            if beginning.latency.saturating_add(latency) > most {
                return None;
            }
        }
        Some(beginning.cost + cost)
    }

    /// Dijkstra's algorithm from one node to another around used nodes.
    fn distance(
        &self,
        from: usize,
        to: usize,
        used: &mut [bool],
        weight: &dyn Fn(usize) -> u64,
    ) -> Option<u64> {
        if from == to {
            return Some(0);
        }
        let mut known: Vec<Option<u64>> = vec![None; used.len()];
        let mut queue = BinaryHeap::from([Reverse((0_u64, from))]);
        while let Some(Reverse((cost, node))) = queue.pop() {
            if node == to {
                return Some(cost);
            }
            if known[node].is_some_and(|least| least < cost)
                || !(node == from || self.view.transit[node])
            {
                continue;
            }
            for hop in &self.view.neighbours[node] {
                if self.bans.edges[hop.edge] || used[hop.node] {
                    continue;
                }
                let cost = cost.saturating_add(weight(hop.edge));
                if known[hop.node].is_none_or(|least| cost < least) {
                    known[hop.node] = Some(cost);
                    queue.push(Reverse((cost, hop.node)));
                }
            }
        }
        None
    }
}

impl Iterator for Search<'_, '_> {
    type Item = Route;

    fn next(&mut self) -> Option<Route> {
        while let Some(Reverse(beginning)) = self.heap.pop() {
            self.rounds += 1;
            if self.gave_up() {
                return None;
            }
            let end = *beginning.nodes.last()?;
            if end == self.to {
                let Beginning {
                    nodes,
                    edges,
                    cost,
                    latency,
                    ..
                } = beginning;
                return Some(Route {
                    nodes,
                    edges,
                    cost,
                    latency,
                });
            }
            if beginning.nodes.len() > 1 && !self.view.transit[end] {
                continue;
            }
            for hop in self.view.neighbours[end].clone() {
                let is_too_early = hop.node == self.to && beginning.crossed < self.via.len();
                // A node to cross later must not be used up before its turn.
                let is_out_of_turn = self.via[beginning.crossed..]
                    .iter()
                    .skip(1)
                    .any(|&node| node == hop.node);
                if self.bans.edges[hop.edge]
                    || self.bans.nodes[hop.node]
                    || beginning.nodes.contains(&hop.node)
                    || is_too_early
                    || is_out_of_turn
                {
                    continue;
                }
                let mut next = beginning.clone();
                next.nodes.push(hop.node);
                next.edges.push(hop.edge);
                next.cost += u64::from(self.view.edges[hop.edge].metric);
                next.latency = next.latency.saturating_add(self.view.latency(hop.edge));
                next.crossed += usize::from(self.via.get(next.crossed) == Some(&hop.node));
                self.push(next);
            }
        }
        None
    }
}
