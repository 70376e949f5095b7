use proptest::prelude::*;

use super::*;
use crate::graph::tests::graph;
use crate::spec::path::PathSelect;

fn ask(from: &str, to: &str, kind: SelectKind, k: Option<u32>) -> PathRequest {
    PathRequest {
        from: from.to_owned(),
        to: to.to_owned(),
        select: PathSelect {
            kind,
            k,
            level: None,
        },
        constraints: PathConstraints::default(),
    }
}

fn node_lists(answer: &PathAnswer) -> Vec<String> {
    answer
        .paths
        .iter()
        .map(|path| path.nodes.join(" "))
        .collect()
}

fn check(text: &str, request: &PathRequest, expected: &[&str]) -> PathAnswer {
    let answer = find(&graph(text), request).unwrap();
    assert_eq!(node_lists(&answer), expected);
    answer
}

const SQUARE: &str = "a-b b-d a-c*2 c-d h1-a h2-d";

#[test]
fn shortest_equal_and_k_paths() {
    check(
        SQUARE,
        &ask("h1", "h2", SelectKind::Shortest, None),
        &["h1 a b d h2"],
    );
    check(
        SQUARE,
        &ask("h1", "h2", SelectKind::K, Some(5)),
        &["h1 a b d h2", "h1 a c d h2"],
    );
    check(
        "a-b b-d a-c c-d",
        &ask("a", "d", SelectKind::Ecmp, None),
        &["a b d", "a c d"],
    );
    check(
        "a-b a-b a-b*2",
        &ask("a", "b", SelectKind::Ecmp, None),
        &["a b", "a b"],
    );
    check(SQUARE, &ask("a", "a", SelectKind::Shortest, None), &["a"]);
}

#[test]
fn constraints_steer_the_path_or_are_named_when_they_block_it() {
    let mut request = ask("a", "d", SelectKind::Shortest, None);
    request.constraints.avoid = vec!["b".to_owned()];
    check(SQUARE, &request, &["a c d"]);
    request.constraints.avoid = vec!["b".to_owned(), "c:p3".to_owned()];
    let answer = check(SQUARE, &request, &[]);
    assert_eq!(answer.blocked_by[0].constraint, "avoid");

    let mut request = ask("a", "d", SelectKind::Shortest, None);
    request.constraints.via = vec!["c".to_owned()];
    check(SQUARE, &request, &["a c d"]);
    request.constraints.via = vec!["h2".to_owned()];
    assert_eq!(check(SQUARE, &request, &[]).blocked_by[0].constraint, "via");
    request.constraints.via = vec!["b".to_owned(), "c".to_owned()];
    check("a-b b-c c-d a-c b-d", &request, &["a b c d"]);
    request.constraints.via.reverse();
    check("a-b b-c c-d a-c b-d", &request, &["a c b d"]);
}

#[test]
fn a_cut_is_told_apart_from_a_constraint() {
    let mut graph = graph("a-b c-d");
    let answer = find(&graph, &ask("a", "d", SelectKind::Shortest, None)).unwrap();
    assert_eq!(answer.blocked_by[0].constraint, "topology");
    graph.set_link("l0", false);
    let answer = find(&graph, &ask("a", "b", SelectKind::Shortest, None)).unwrap();
    assert_eq!(answer.blocked_by[0].constraint, "linkDown");
}

#[test]
fn disjoint_pairs_do_not_fall_into_the_trap() {
    // The shortest path a b c d takes a link of each of the two disjoint ones.
    let trap = "a-b b-c c-d a-c*2 b-d*2";
    check(
        trap,
        &ask("a", "d", SelectKind::Disjoint, Some(2)),
        &["a b d", "a c d"],
    );
    let answer = check("a-b b-c", &ask("a", "c", SelectKind::Disjoint, None), &[]);
    assert_eq!(answer.blocked_by[0].constraint, "disjoint");
    let mut by_node = ask("a", "e", SelectKind::Disjoint, None);
    let bow_tie = "a-b a-c b-d c-d d-f d-g f-e g-e";
    assert_eq!(find(&graph(bow_tie), &by_node).unwrap().paths.len(), 2);
    by_node.select.level = Some(DisjointLevel::Node);
    assert!(find(&graph(bow_tie), &by_node).unwrap().paths.is_empty());
}

#[test]
fn pairs_keep_their_constraints_too() {
    let mut request = ask("a", "d", SelectKind::Disjoint, None);
    request.constraints.via = vec!["c".to_owned()];
    check("a-b b-d a-c*5 c-d a-d*2", &request, &["a c d", "a b d"]);
    let mut risky = graph("a-b b-d a-c c-d a-d*9");
    let links: Vec<_> = ["l0", "l3"]
        .iter()
        .map(|name| risky.link(name).unwrap().clone())
        .collect();
    for edge in links {
        risky.add_link(&crate::model::Link {
            name: edge.name,
            a: edge.a,
            b: edge.b,
            metric: 1,
            srlgs: vec!["duct".to_owned()],
            capacity_bps: None,
            latency: None,
            up: true,
            impair_a: Default::default(),
            impair_b: Default::default(),
        });
    }
    let mut request = ask("a", "d", SelectKind::Disjoint, None);
    request.select.level = Some(DisjointLevel::Srlg);
    assert_eq!(
        node_lists(&find(&risky, &request).unwrap()),
        ["a b d", "a d"]
    );
}

#[test]
fn large_graphs_are_answered_at_once() {
    // A torus of 12 by 12 switches with a host on each: very many equal paths.
    let name = |x: usize, y: usize| format!("s{:02}{:02}", x % 12, y % 12);
    let mut words = Vec::new();
    for x in 0..12 {
        for y in 0..12 {
            words.push(format!("{}-{}", name(x, y), name(x + 1, y)));
            words.push(format!("{}-{}", name(x, y), name(x, y + 1)));
            words.push(format!("h{x:02}{y:02}-{}", name(x, y)));
        }
    }
    let graph = graph(&words.join(" "));
    let k = find(&graph, &ask("h0000", "h0606", SelectKind::K, Some(64))).unwrap();
    assert_eq!((k.paths.len(), k.paths[63].cost), (64, 14));
    assert_eq!(
        find(&graph, &ask("h0000", "h0606", SelectKind::Disjoint, None))
            .unwrap()
            .blocked_by[0]
            .constraint,
        "disjoint"
    );
    let pair = find(&graph, &ask("s0000", "s0606", SelectKind::Disjoint, None)).unwrap();
    assert_eq!(
        pair.paths.iter().map(|path| path.cost).collect::<Vec<_>>(),
        [12, 12]
    );
}

#[test]
fn unknown_names_are_refused_with_a_suggestion() {
    let mut request = ask("h1", "h3x", SelectKind::K, None);
    request.constraints.avoid = vec!["l99".to_owned()];
    let errors = find(&graph(SQUARE), &request).unwrap_err();
    let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["/to", "/constraints/avoid/0", "/select/k"]);
}

/// Every loop-free path by plain recursion: (cost, latency, nodes, links).
fn all_paths(graph: &Graph, from: &str, to: &str) -> Vec<(u64, Vec<String>, Vec<String>)> {
    fn walk(
        graph: &Graph,
        to: &str,
        nodes: &mut Vec<String>,
        links: &mut Vec<String>,
        cost: u64,
        found: &mut Vec<(u64, Vec<String>, Vec<String>)>,
    ) {
        let end = nodes.last().unwrap().clone();
        if end == to {
            found.push((cost, nodes.clone(), links.clone()));
            return;
        }
        if nodes.len() > 1 && !graph.is_transit(&end) {
            return;
        }
        for (neighbour, edge) in graph.neighbours(&end) {
            if !nodes.iter().any(|node| node == neighbour) {
                nodes.push(neighbour.to_owned());
                links.push(edge.name.clone());
                walk(
                    graph,
                    to,
                    nodes,
                    links,
                    cost + u64::from(edge.metric),
                    found,
                );
                nodes.pop();
                links.pop();
            }
        }
    }
    let mut found = Vec::new();
    walk(
        graph,
        to,
        &mut vec![from.to_owned()],
        &mut Vec::new(),
        0,
        &mut found,
    );
    found.sort();
    found
}

/// Small graphs with parallel links, odd metrics and a host in between.
fn any_graph() -> impl Strategy<Value = String> {
    let node = || proptest::sample::select(vec!["a", "b", "c", "d", "e", "h"]);
    proptest::collection::vec((node(), node(), 1..4_u32), 1..11).prop_map(|links| {
        let words = links
            .into_iter()
            .filter(|(a, b, _)| a != b)
            .map(|(a, b, metric)| format!("{a}-{b}*{metric}"));
        std::iter::once("a-b*9".to_owned())
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    })
}

proptest! {
    #[test]
    fn paths_agree_with_brute_force(text in any_graph(), k in 1..8_u32) {
        let graph = graph(&text);
        for to in ["b", "c", "h"].into_iter().filter(|to| graph.node(to).is_some()) {
            let all = all_paths(&graph, "a", to);
            let plain = |paths: &[FoundPath]| -> Vec<_> {
                paths.iter().map(|path| (path.cost, path.nodes.clone(), path.links.clone())).collect()
            };
            let found = find(&graph, &ask("a", to, SelectKind::K, Some(k))).unwrap();
            let first: Vec<_> = all.iter().take(usize::try_from(k).unwrap()).cloned().collect();
            prop_assert_eq!(plain(&found.paths), first, "k shortest");
            let equal = find(&graph, &ask("a", to, SelectKind::Ecmp, None)).unwrap();
            let least = all.first().map(|path| path.0);
            let cheapest: Vec<_> = all.iter().filter(|path| Some(path.0) == least).cloned().collect();
            prop_assert_eq!(plain(&equal.paths), cheapest, "equal cost");
            for level in [DisjointLevel::Link, DisjointLevel::Node] {
                let mut request = ask("a", to, SelectKind::Disjoint, None);
                request.select.level = Some(level);
                let pair = find(&graph, &request).unwrap();
                let sum: Option<u64> = (pair.paths.len() == 2).then(|| pair.paths.iter().map(|path| path.cost).sum());
                let mut best = None;
                for (cost, nodes, links) in &all {
                    for (other_cost, other_nodes, other_links) in &all {
                        let inner = |nodes: &[String]| nodes[1..nodes.len() - 1].to_vec();
                        let shares_node = inner(nodes).iter().any(|node| inner(other_nodes).contains(node));
                        if !(links.iter().any(|link| other_links.contains(link)) || level == DisjointLevel::Node && shares_node) {
                            best = best.max(Some(std::cmp::Reverse(cost + other_cost)));
                        }
                    }
                }
                prop_assert_eq!(sum, best.map(|best| best.0), "disjoint");
            }
        }
    }
}
