//! Paths between two nodes: the shortest, all of least cost, the k shortest, two disjoint ones, each under constraints.
//!
//! There is one search, which yields loop-free paths one by one in the order of (cost, names). It keeps a heap of
//! beginnings of paths. Each beginning is valued at its own cost plus the cost of the best way on from its end that meets none
//! of its nodes again, found by Dijkstra's algorithm on what is left of the graph. So without constraints the value is
//! exact, the cheapest beginning always leads to the next path, and `k` paths of length `n` take `k·n` rounds, as in Yen's
//! algorithm. Under a bound on latency or a list of nodes to cross the value is a lower bound: the result is still exact, but
//! it may take long to prove that there is none. [`MAX_ROUNDS`] ends that, and the answer says so.

mod pair;
mod search;

use crate::graph::{Edge, Graph};
use crate::problem::{Code, FieldError, pointer_to};
use crate::quantity::{BitsPerSec, TimeSpan};
use crate::spec::path::{
    BlockedBy, DisjointLevel, FoundPath, PathAnswer, PathConstraints, PathRequest, SelectKind,
};

use self::pair::Apart;
use self::search::{Bans, Route, Search, View};

/// Most beginnings of paths looked at for one answer.
const MAX_ROUNDS: usize = 20_000;

/// Most paths of one answer.
const MAX_PATHS: usize = 1_024;

/// Most first paths tried for a disjoint pair.
const MAX_CANDIDATES: usize = 500;

/// Answers a question for paths.
///
/// # Errors
///
/// Names that do not exist and numbers out of range. That there is no path is an answer, not an error.
pub fn find(graph: &Graph, request: &PathRequest) -> Result<PathAnswer, Vec<FieldError>> {
    check(graph, request)?;
    let (routes, gave_up) = routes(graph, request, Links::Up);
    if routes.is_empty() {
        return Ok(PathAnswer {
            paths: Vec::new(),
            blocked_by: blocked_by(graph, request, gave_up),
        });
    }
    Ok(PathAnswer {
        paths: routes,
        blocked_by: Vec::new(),
    })
}

/// Which links count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Up,
    All,
}

/// The paths, and whether the search ended early.
fn routes(graph: &Graph, request: &PathRequest, links: Links) -> (Vec<FoundPath>, bool) {
    let view = View::new(graph, |edge| {
        (links == Links::All || edge.up)
            && request
                .constraints
                .min_bandwidth
                .is_none_or(|least| edge.capacity_bps.is_none_or(|capacity| capacity >= least.0))
    });
    let (Some(from), Some(to)) = (view.index(&request.from), view.index(&request.to)) else {
        return (Vec::new(), false);
    };
    let bans = avoided(&view, &request.constraints);
    let via: Vec<usize> = request
        .constraints
        .via
        .iter()
        .filter_map(|name| view.index(name))
        .collect();
    let max_latency = request.constraints.max_latency.map(|latency| latency.0);
    let mut search = Search::new(&view, from, to, &via, max_latency, bans.clone());
    let k = request
        .select
        .k
        .map_or(1, |k| usize::try_from(k).unwrap_or(usize::MAX));
    let mut gave_up = false;
    let found: Vec<Route> = match request.select.kind {
        SelectKind::Shortest => search.next().into_iter().collect(),
        SelectKind::K => search.by_ref().take(k).collect(),
        SelectKind::Ecmp => match search.next() {
            None => Vec::new(),
            Some(first) => {
                let cost = first.cost;
                let equal = search
                    .by_ref()
                    .take_while(|route| route.cost == cost)
                    .take(MAX_PATHS - 1);
                std::iter::once(first).chain(equal).collect()
            }
        },
        SelectKind::Disjoint => {
            let level = request.select.level.unwrap_or_default();
            let apart = match level {
                DisjointLevel::Node => Apart::Nodes,
                DisjointLevel::Link | DisjointLevel::Srlg => Apart::Links,
            };
            // Exact where nothing else is asked for; and where even this finds no pair, there is none.
            let pair = pair::cheapest(&view, &bans, from, to, apart);
            let is_plain = level != DisjointLevel::Srlg && via.is_empty() && max_latency.is_none();
            if pair.is_empty() || is_plain {
                pair
            } else {
                let (pair, is_certain) = disjoint(&view, &mut search, &bans, level, max_latency);
                gave_up = !is_certain;
                pair
            }
        }
    };
    let paths = found.iter().map(|route| describe(&view, route)).collect();
    (paths, gave_up || search.gave_up())
}

/// The cheapest pair under all constraints, or nothing; and whether that is certain.
///
/// In a pair the first path is not dearer than the second, so candidates for it are tried in the order of cost until
/// twice their cost reaches the best sum.
fn disjoint(
    view: &View<'_>,
    search: &mut Search<'_, '_>,
    bans: &Bans,
    level: DisjointLevel,
    max_latency: Option<u64>,
) -> (Vec<Route>, bool) {
    let mut best: Option<(u64, Route, Route)> = None;
    let mut tried = 0;
    for first in search.by_ref().take(MAX_CANDIDATES) {
        tried += 1;
        if best
            .as_ref()
            .is_some_and(|(sum, ..)| first.cost.saturating_mul(2) >= *sum)
        {
            break;
        }
        let (Some(&from), Some(&to)) = (first.nodes.first(), first.nodes.last()) else {
            continue;
        };
        let mut rest = bans.clone();
        for &edge in &first.edges {
            rest.edges[edge] = true;
        }
        match level {
            DisjointLevel::Link => {}
            DisjointLevel::Node => {
                for &node in first
                    .nodes
                    .iter()
                    .filter(|&&node| node != from && node != to)
                {
                    rest.nodes[node] = true;
                }
            }
            DisjointLevel::Srlg => {
                for (edge, banned) in view.edges().zip(&mut rest.edges) {
                    let is_shared = first
                        .edges
                        .iter()
                        .any(|&mine| !view.edge(mine).srlgs.is_disjoint(&edge.srlgs));
                    *banned = *banned || is_shared;
                }
            }
        }
        if let Some(second) = Search::new(view, from, to, &[], max_latency, rest).next() {
            let sum = first.cost + second.cost;
            if best.as_ref().is_none_or(|(least, ..)| sum < *least) {
                best = Some((sum, first, second));
            }
        }
    }
    let is_certain = tried < MAX_CANDIDATES;
    let pair = best.map(|(_, first, second)| vec![first, second]);
    (pair.unwrap_or_default(), is_certain)
}

fn avoided(view: &View<'_>, constraints: &PathConstraints) -> Bans {
    let mut bans = Bans::none(view);
    for name in &constraints.avoid {
        if let Some(node) = view.index(name) {
            bans.nodes[node] = true;
        }
        for (edge, banned) in view.edges().zip(&mut bans.edges) {
            *banned = *banned || is_called(edge, name) || edge.srlgs.contains(name);
        }
    }
    bans
}

fn is_called(edge: &Edge, name: &str) -> bool {
    edge.name == name
        || [&edge.a, &edge.b]
            .into_iter()
            .any(|end| end.to_string() == name)
}

fn describe(view: &View<'_>, route: &Route) -> FoundPath {
    let edges = || route.edges.iter().map(|&edge| view.edge(edge));
    FoundPath {
        nodes: route
            .nodes
            .iter()
            .map(|&node| view.name(node).to_owned())
            .collect(),
        links: edges().map(|edge| edge.name.clone()).collect(),
        cost: route.cost,
        latency: TimeSpan(route.latency),
        bandwidth: edges()
            .filter_map(|edge| edge.capacity_bps)
            .min()
            .map(BitsPerSec),
    }
}

/// Why there is no path: each constraint without which there would be one.
fn blocked_by(graph: &Graph, request: &PathRequest, gave_up: bool) -> Vec<BlockedBy> {
    let blocked = |constraint: &str, detail: String| BlockedBy {
        constraint: constraint.to_owned(),
        detail,
    };
    let exists = |request: &PathRequest, links| !routes(graph, request, links).0.is_empty();
    let (from, to) = (&request.from, &request.to);
    let plain = PathRequest {
        from: from.clone(),
        to: to.clone(),
        ..PathRequest::default()
    };
    if !exists(&plain, Links::Up) {
        let reason = if exists(&plain, Links::All) {
            let down: Vec<&str> = graph
                .links()
                .filter(|edge| !edge.up)
                .map(|edge| edge.name.as_str())
                .collect();
            blocked(
                "linkDown",
                format!(
                    "`{from}` and `{to}` are apart while these links are down: {}",
                    down.join(", ")
                ),
            )
        } else {
            blocked("topology", format!("no links lead from `{from}` to `{to}`"))
        };
        return vec![reason];
    }
    if gave_up {
        let detail = "the search was given up before every possibility was tried".to_owned();
        return vec![blocked("searchLimit", detail)];
    }
    let asked = &request.constraints;
    let mut reasons = Vec::new();
    let mut try_without = |constraint: &str, detail: String, change: &dyn Fn(&mut PathRequest)| {
        let mut relaxed = request.clone();
        change(&mut relaxed);
        if exists(&relaxed, Links::Up) {
            reasons.push(blocked(constraint, detail));
        }
    };
    if request.select.kind == SelectKind::Disjoint {
        let detail = "there is one path, and none that shares nothing with it".to_owned();
        try_without("disjoint", detail, &|request| {
            request.select.kind = SelectKind::Shortest
        });
    }
    if let Some(least) = asked.min_bandwidth {
        let detail = format!("no path has {least} on each link");
        try_without("minBandwidth", detail, &|request| {
            request.constraints.min_bandwidth = None
        });
    }
    if let Some(most) = asked.max_latency {
        let detail = format!("no path takes {most} or less");
        try_without("maxLatency", detail, &|request| {
            request.constraints.max_latency = None
        });
    }
    if !asked.avoid.is_empty() {
        let detail = format!("every path uses one of: {}", asked.avoid.join(", "));
        try_without("avoid", detail, &|request| {
            request.constraints.avoid.clear()
        });
    }
    if !asked.via.is_empty() {
        let detail = format!("no path without a loop crosses: {}", asked.via.join(", "));
        try_without("via", detail, &|request| request.constraints.via.clear());
    }
    if reasons.is_empty() {
        reasons.push(blocked(
            "constraints",
            "no path keeps all constraints together".to_owned(),
        ));
    }
    reasons
}

fn check(graph: &Graph, request: &PathRequest) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    let node_names = || graph.nodes().map(|node| node.name.as_str());
    let mut node = |pointer: &str, name: &str| {
        if graph.node(name).is_none() {
            let detail = format!("there is no node `{name}`");
            let mut error =
                FieldError::new(pointer, Code::NoSuchNode, detail).with_allowed(name, node_names());
            error.allowed.clear();
            errors.push(error);
        }
    };
    node("/from", &request.from);
    node("/to", &request.to);
    for (index, name) in request.constraints.via.iter().enumerate() {
        node(&pointer_to("/constraints/via", index), name);
    }
    for (index, name) in request.constraints.avoid.iter().enumerate() {
        let is_known = graph.node(name).is_some()
            || graph
                .links()
                .any(|edge| is_called(edge, name) || edge.srlgs.contains(name));
        if !is_known {
            let detail = format!("there is no node, link or shared-risk group `{name}`");
            let known = node_names().chain(graph.links().map(|edge| edge.name.as_str()));
            let mut error = FieldError::new(
                pointer_to("/constraints/avoid", index),
                Code::NoSuchReference,
                detail,
            )
            .with_allowed(name, known);
            error.allowed.clear();
            errors.push(error);
        }
    }
    if let Some(k) = request.select.k {
        let (allowed, text) = match request.select.kind {
            SelectKind::K => ((1..=64).contains(&k), "[1, 64]"),
            SelectKind::Disjoint => (k == 2, "[2, 2]"),
            SelectKind::Shortest | SelectKind::Ecmp => ((1..=64).contains(&k), "[1, 64]"),
        };
        if !allowed {
            errors.push(FieldError::new(
                "/select/k",
                Code::OutOfRange,
                format!("k = {k} is out of range {text}"),
            ));
        }
    } else if request.select.kind == SelectKind::K {
        errors.push(FieldError::new(
            "/select/k",
            Code::MissingField,
            "`k` is missing: how many paths",
        ));
    }
    if request.select.level.is_some() && request.select.kind != SelectKind::Disjoint {
        errors.push(FieldError::new(
            "/select/level",
            Code::Conflict,
            "`level` is for `disjoint`",
        ));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests;
