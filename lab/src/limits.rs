//! Limits of the machine that a lab can run into although all its parts are in order.

use std::collections::BTreeMap;
use std::fs;

use weft_controller::model::Model;

/// Entries that all IPv4 neighbour tables of the machine may have together, those of all namespaces.
const NEIGHBOUR_LIMIT: &str = "/proc/sys/net/ipv4/neigh/default/gc_thresh3";

/// What the user should know before this lab is used, each with the line that helps.
pub fn warnings(model: &Model) -> Vec<String> {
    // Only the first namespace shows the limit; elsewhere nothing is known and nothing is said.
    let limit = fs::read_to_string(NEIGHBOUR_LIMIT)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    limit
        .and_then(|limit| neighbours(model, limit))
        .into_iter()
        .collect()
}

fn neighbours(model: &Model, limit: usize) -> Option<String> {
    let needed = neighbour_entries(model);
    (needed > limit).then(|| {
        let enough = needed.saturating_mul(2).next_power_of_two();
        format!(
            "if all hosts talk to each other they need {needed} neighbour entries, and this machine keeps {limit} for all \
             its namespaces; beyond that it drops packets (`sysctl -w net.ipv4.neigh.default.gc_thresh3={enough}` helps)"
        )
    })
}

/// Entries when every host talks to every other: one for each peer in the same subnet, one for a gateway.
fn neighbour_entries(model: &Model) -> usize {
    let mut members: BTreeMap<_, usize> = BTreeMap::new();
    let mut gateways = 0;
    for interface in model.hosts.values().flat_map(|host| &host.interfaces) {
        for address in interface
            .addresses
            .iter()
            .filter(|net| net.addr().is_ipv4())
        {
            *members
                .entry((&interface.network, address.trunc()))
                .or_default() += 1;
        }
        gateways += interface
            .gateways
            .iter()
            .filter(|gateway| gateway.is_ipv4())
            .count();
    }
    let peers: usize = members.values().map(|count| count * (count - 1)).sum();
    peers + gateways
}

#[cfg(test)]
mod tests {
    use weft_controller::load;

    use super::*;

    fn model(hosts: &str) -> Model {
        let text = format!("name: t\ntopology:\n  nodes:\n    s1: {{ kind: switch }}\n{hosts}");
        load::model(text.as_bytes(), "test.yaml", None).unwrap()
    }

    #[test]
    fn every_pair_of_a_subnet_counts_in_both_directions() {
        assert_eq!(
            neighbour_entries(&model("    h[1-4]: { kind: host }\n")),
            12
        );
        let routed = "    a: { kind: host, ip: 10.1.0.1/24, gateway: 10.1.0.254 }\n    b: { kind: host, ip: 10.2.0.1/24, gateway: 10.2.0.254 }\n";
        assert_eq!(neighbour_entries(&model(routed)), 2);
    }

    #[test]
    fn a_lab_beyond_the_limit_is_told_what_helps() {
        let model = model("    h[1-40]: { kind: host }\n");
        assert_eq!(neighbours(&model, 1560), None);
        let warning = neighbours(&model, 1024).unwrap();
        assert!(warning.contains("1560"), "{warning}");
        assert!(warning.contains("gc_thresh3=4096"), "{warning}");
    }
}
