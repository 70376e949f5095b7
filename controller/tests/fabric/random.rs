//! Any graph of switches: everybody reaches everybody, broadcast reaches each once, whatever links are down, as long as
//! a way is left.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use weft_controller::compile::{Desired, Fabric, apply, diff, node_label};
use weft_controller::model::{Model, Peer};
use weft_proto::schema::Schema;
use weft_proto::vocab::{FieldMatch, PortNo, TableAction};
use weft_switch::fabric::pipeline;
use weft_switch::program::Program;

use crate::frames::{self, BROADCAST};
use crate::lab::Builder;

/// A tree, more links across it, and where hosts attach.
#[derive(Clone, Debug)]
struct Graph {
    parents: Vec<prop::sample::Index>,
    more: Vec<(prop::sample::Index, prop::sample::Index)>,
    hosts: Vec<prop::sample::Index>,
}

fn graph() -> impl Strategy<Value = Graph> {
    use prop::collection::vec;
    use prop::sample::Index;
    let parents = vec(any::<Index>(), 0..7);
    let more = vec((any::<Index>(), any::<Index>()), 0..8);
    (parents, more, vec(any::<Index>(), 2..7)).prop_map(|(parents, more, hosts)| Graph {
        parents,
        more,
        hosts,
    })
}

impl Graph {
    /// The builder, and the names of links that the tree does not need.
    fn build(&self) -> (Builder, Vec<String>) {
        let names: Vec<_> = (0..=self.parents.len()).map(|n| format!("s{n}")).collect();
        let mut builder = Builder::switches(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut pairs = BTreeSet::new();
        for (child, parent) in self.parents.iter().enumerate() {
            let (child, parent) = (child + 1, parent.index(child + 1));
            pairs.insert((parent, child));
            builder = builder.link(&names[parent], &names[child]);
        }
        let mut spare = Vec::new();
        for (a, b) in &self.more {
            let (a, b) = (a.index(names.len()), b.index(names.len()));
            // The other way round it is a link beside the first.
            if a != b && pairs.insert((a, b)) {
                builder = builder.link(&names[a], &names[b]);
                spare.push(format!("{}--{}", names[a], names[b]));
            }
        }
        for (number, at) in self.hosts.iter().enumerate() {
            let address = format!("10.0.0.{}/24", number + 1);
            builder = builder.host(
                &format!("h{number}"),
                &names[at.index(names.len())],
                &address,
            );
        }
        (builder, spare)
    }
}

/// Ports of each label's group, sorted, as a switch's entries have them.
fn groups(desired: &Desired, schema: &Schema) -> BTreeMap<u128, Vec<PortNo>> {
    let table = schema.table_by_name("node_paths").unwrap().id;
    let of_table = desired.entries.iter().filter(|(key, _)| key.table == table);
    of_table
        .map(|(key, entry)| {
            let Some(FieldMatch::Exact(label)) = key.matches.values().next() else {
                panic!("labels are matched exactly");
            };
            let TableAction::OneShot(members) = &entry.action else {
                panic!("paths are groups");
            };
            let ports = members
                .iter()
                .map(|member| member.watch_port.unwrap())
                .collect();
            (*label, ports)
        })
        .collect()
}

/// What the cheapest way on from the end of a path to a switch costs, and every port that begins such a way, in order: by
/// trying each loop-free path.
fn cheapest(
    model: &Model,
    down: &BTreeSet<String>,
    path: &[&str],
    to: &str,
) -> Option<(u64, Vec<PortNo>)> {
    let mut best: Option<(u64, Vec<PortNo>)> = None;
    for (port, info) in &model.switches[*path.last()?].ports {
        let Peer::Switch { switch: peer, .. } = &info.peer else {
            continue;
        };
        if down.contains(&info.link) || path.contains(&peer.as_str()) {
            continue;
        }
        let on = [path, &[peer]].concat();
        let rest = match peer == to {
            true => Some(0),
            false => cheapest(model, down, &on, to).map(|(cost, _)| cost),
        };
        let Some(rest) = rest else { continue };
        let cost = rest + u64::from(model.links[&info.link].metric);
        match &mut best {
            Some((least, _)) if *least < cost => {}
            Some((least, ports)) if *least == cost => ports.push(*port),
            _ => best = Some((cost, vec![*port])),
        }
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn groups_are_the_first_ports_of_all_cheapest_paths(
        graph in graph(),
        metrics in prop::collection::vec(1u32..4, 16),
        cut in any::<prop::sample::Index>(),
    ) {
        let (builder, spare) = graph.build();
        let mut model = builder.build();
        for (link, metric) in model.links.values_mut().zip(metrics) {
            link.metric = metric;
        }
        let mut down = BTreeSet::new();
        if !spare.is_empty() {
            let link = spare[cut.index(spare.len())].clone();
            down.insert(link);
        }
        let program = Program::new(pipeline()).unwrap();
        let desired = Fabric::new(&model, &down, program.schema()).unwrap().switches();
        let mut expected: BTreeMap<&str, BTreeMap<u128, Vec<PortNo>>> = BTreeMap::new();
        let attachments = model.hosts.values().flat_map(|host| &host.interfaces);
        let edges: BTreeSet<_> = attachments.map(|end| &end.attachment.switch).collect();
        for edge in edges {
            let label = node_label(model.switches[edge].device_id).unwrap().into();
            for name in model.switches.keys().filter(|name| *name != edge) {
                let (_, ports) = cheapest(&model, &down, &[name], edge).unwrap();
                expected.entry(name).or_default().insert(label, ports);
            }
        }
        for (name, desired) in desired {
            let groups = groups(&desired, program.schema());
            prop_assert_eq!(&groups, &expected.remove(name).unwrap_or_default(), "{}", name);
        }
    }

    #[test]
    fn everybody_is_reached_exactly_once(graph in graph(), cut in any::<prop::sample::Index>()) {
        let (builder, spare) = graph.build();
        let mut lab = builder.lab();
        let hosts: Vec<String> = lab.model.hosts.keys().cloned().collect();
        for round in 0..2 {
            for src in &hosts {
                for dst in hosts.iter().filter(|dst| *dst != src) {
                    let frame = frames::udp(lab.ends(src, dst), (round, 2), b"x");
                    let outcome = lab.send(src, &frame);
                    prop_assert_eq!(outcome.hosts(), [dst]);
                    let visited: BTreeSet<_> = outcome.hops.iter().collect();
                    prop_assert_eq!(visited.len(), outcome.hops.len(), "no switch twice");
                }
                let mut ends = lab.ends(src, src);
                ends.dst_mac = BROADCAST;
                let outcome = lab.send(src, &frames::udp(ends, (round, 2), b"x"));
                let others: Vec<_> = hosts.iter().filter(|host| *host != src).collect();
                prop_assert_eq!(outcome.hosts(), others);
            }
            if !spare.is_empty() {
                lab.down.insert(spare[cut.index(spare.len())].clone());
                lab.reconcile();
            }
        }
    }

    #[test]
    fn the_difference_between_two_compiles_leads_from_one_to_the_other(
        graph in graph(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)
    ) {
        let (builder, spare) = graph.build();
        let model = builder.build();
        let program = Program::new(pipeline()).unwrap();
        let down: BTreeSet<String> = cuts
            .iter()
            .filter(|_| !spare.is_empty())
            .map(|cut| spare[cut.index(spare.len())].clone())
            .collect();
        let before = Fabric::new(&model, &BTreeSet::new(), program.schema()).unwrap().switches();
        let after = Fabric::new(&model, &down, program.schema()).unwrap().switches();
        for (name, observed) in before {
            let plan = diff(&observed, &after[name]);
            let mut state = observed;
            apply(&mut state, &plan);
            prop_assert_eq!(&state, &after[name]);
        }
    }
}
