//! Topology files: read, expanded, and compiled for each switch.

use std::collections::BTreeSet;

use weft_controller::compile::Fabric;
use weft_controller::load;

use crate::fabric::edge;
use crate::root;

/// Switches times hosts, above which compiling says nothing new and takes long.
const LARGE: usize = 2_000;

/// A file.
pub fn run(data: &[u8]) {
    match load::model(data, "fuzz.yaml", None) {
        Ok(model) => {
            if model.switches.len() * (model.hosts.len() + model.links.len()) > LARGE {
                return;
            }
            let schema = edge().program.schema();
            let fabric = Fabric::new(&model, &BTreeSet::new(), schema);
            // A model that was expanded from a file fits the fabric.
            let fabric = fabric.expect("a file that loads compiles");
            assert_eq!(fabric.switches().len(), model.switches.len());
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.to_string().starts_with("error: fuzz.yaml"));
        }
    }
}

/// The examples, and what is wrong with a file in many ways.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut files: Vec<_> = std::fs::read_dir(root().join("topologies"))
        .into_iter()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.ok()?.path()).ok())
        .collect();
    files.sort();
    let small = [
        "name: x\ntopology: { nodes: { a: { kind: host, ip: 10.0.0.1/24 }, s: { kind: switch } } }\n",
        "topology:\n  defaults: { kind: switch }\n  nodes: { s[1-4]: {}, h[1-4]: { kind: host } }\n  links:\n    - mesh: [\"s*\"]\n    - { endpoints: [\"h[1-4]:eth0\", \"s[1-4]:p9\"], impair: { delay: 1ms, loss: 1% } }\n",
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "topology: { nodes: { a: { kind: host, ip: [10.0.0.1/32, \"fe80::1/128\", 0.0.0.0/0] }, s: { kind: switch } } }\n",
        "topology: { nodes: { r: { kind: router, mtu: 68 }, s: { kind: switch, mtu: 65535 } }, links: [ { endpoints: [r, s], metric: 4294967295, srlgs: [x] } ] }\n",
        "tests: [ { name: t, ping: { from: \"*\", to: \"*\", count: 0 }, expect: { loss: 0% } } ]\n",
    ];
    files.extend(small.map(|text| text.as_bytes().to_vec()));
    files
}
