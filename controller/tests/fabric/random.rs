//! Any graph of switches: everybody reaches everybody, broadcast reaches each once, whatever links are down, as long as
//! a way is left.

use std::collections::BTreeSet;

use proptest::prelude::*;
use weft_controller::compile::{Fabric, apply, diff};
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
            if a < b && pairs.insert((a, b)) {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
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
