//! What the compile makes of a model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use weft_controller::compile::{Desired, FABRIC_GROUPS_END, Fabric, Owner, OwnerTag, diff};
use weft_controller::model::Model;
use weft_proto::schema::Schema;
use weft_switch::program::Program;

use crate::lab::{self, Builder};

fn schema() -> Schema {
    Program::new(weft_switch::fabric::pipeline())
        .unwrap()
        .schema()
        .clone()
}

fn compile(model: &Model) -> BTreeMap<String, Desired> {
    let schema = schema();
    let fabric = Fabric::new(model, &BTreeSet::new(), &schema).unwrap();
    fabric
        .switches()
        .into_iter()
        .map(|(name, desired)| (name.to_owned(), desired))
        .collect()
}

/// Number of entries in each table that has any.
fn tables(desired: &Desired) -> BTreeMap<String, usize> {
    let schema = schema();
    let mut counts = BTreeMap::new();
    for key in desired.entries.keys() {
        *counts
            .entry(schema.table(key.table).unwrap().name.clone())
            .or_default() += 1;
    }
    counts
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

#[test]
fn core_switches_know_edges_only() {
    let model = lab::leaf_spine(2, 4, 2).build();
    let desired = compile(&model);
    let spine = counts(&[("port_in", 4), ("my_label", 1), ("node_paths", 4)]);
    assert_eq!(tables(&desired["spine1"]), spine);
    assert!(desired["spine1"].groups.is_empty());
    // Two links, two hosts and the controller; three other edges; eight hosts.
    let leaf = counts(&[
        ("port_in", 5),
        ("port_out", 2),
        ("my_label", 1),
        ("node_paths", 3),
        ("neighbors", 8),
        ("fdb", 8),
        ("flood", 2),
    ]);
    assert_eq!(tables(&desired["leaf1"]), leaf);
    assert_eq!(desired["leaf1"].groups.len(), 2);
}

#[test]
fn everything_carries_the_fabrics_tag_and_groups_stay_in_their_range() {
    for desired in compile(&lab::routed().build()).values() {
        let entries = desired.entries.values().map(|entry| &entry.metadata);
        for metadata in entries.chain(desired.groups.values().map(|group| &group.metadata)) {
            assert_eq!(
                OwnerTag::from_metadata(metadata).unwrap().owner,
                Owner::Fabric
            );
        }
        assert!(desired.groups.keys().all(|id| *id < FABRIC_GROUPS_END));
    }
}

#[test]
fn the_same_model_compiles_to_the_same_entries() {
    let model = lab::leaf_spine(3, 5, 3).build();
    let (a, b) = (compile(&model), compile(&model));
    assert_eq!(a, b);
    assert!(
        a.iter()
            .all(|(name, desired)| diff(desired, &b[name]).is_empty())
    );
}

#[test]
fn without_the_fabric_nothing_is_compiled() {
    let model = lab::leaf_spine(2, 2, 2);
    for desired in compile(&model.without_fabric().build()).values() {
        assert_eq!(desired.count(), 0);
    }
}

#[test]
fn models_that_do_not_fit_are_refused_by_name() {
    let schema = schema();
    let error = |model: &Model| {
        Fabric::new(model, &BTreeSet::new(), &schema)
            .unwrap_err()
            .to_string()
    };
    let twice = Builder::switches(&["s1"])
        .host("a", "s1", "10.0.0.1/24")
        .host("b", "s1", "10.0.0.1/24")
        .build();
    assert_eq!(
        error(&twice),
        "hosts a and b of network default both have 10.0.0.1"
    );
    let huge = Builder::switches(&["s1"]).network("blue", 1 << 19).build();
    assert_eq!(
        error(&huge),
        "network blue has number 524288; the fabric has labels for 1 to 524287"
    );
    let mut far = Builder::switches(&["s1"]).build();
    far.switches.get_mut("s1").unwrap().device_id.0 = 70_000;
    assert_eq!(
        error(&far),
        "switch s1 has device id 70000; the fabric has labels for 1 to 65520"
    );
    let stranger = Schema::default();
    let empty = Builder::switches(&["s1"]).build();
    let error = Fabric::new(&empty, &BTreeSet::new(), &stranger).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the pipeline has no table \"port_in\", which the fabric needs"
    );
}

/// Printed for people; the bound is for a debug build on a busy machine.
#[test]
fn a_hundred_switches_and_two_hundred_hosts_compile_quickly() {
    let model = lab::leaf_spine(10, 90, 2)
        .host("h199", "leaf1", "10.9.0.1/16")
        .host("h200", "leaf2", "10.9.0.2/16");
    let model = model.build();
    let schema = schema();
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let start = Instant::now();
    let fabric = Fabric::new(&model, &BTreeSet::new(), &schema).unwrap();
    let desired = fabric.switches();
    let took = start.elapsed();
    let entries: usize = desired.values().map(Desired::count).sum();
    println!(
        "{entries} entries for {} switches in {took:?}",
        desired.len()
    );
    assert!(took < Duration::from_secs(10));
}
