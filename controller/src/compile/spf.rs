//! Shortest paths between switches: one run of Dijkstra for each destination.
//!
//! Everything goes by index and port, for the compile asks for every destination at every switch. Hosts are no part of
//! it: nothing is forwarded across them. `controller/tests/fabric/random.rs` compares with every path there is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use weft_proto::vocab::PortNo;

use crate::model::{Model, Peer};

/// Switches and the links between them that are up. Indices are in order of the switches' names.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    /// The links of each switch, in order of their ports.
    links: Vec<Vec<Link>>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    port: PortNo,
    peer: usize,
    metric: u64,
    /// Largest customer IP packet, in bytes.
    mtu: u32,
}

/// Distance to one destination, by switch; `None` where there is no way.
pub(super) type Distances = Vec<Option<u64>>;

impl Topology {
    /// The links of the model but those in `down`.
    pub(super) fn new(model: &Model, down: &BTreeSet<String>) -> Self {
        let index: BTreeMap<&str, usize> =
            model.switches.keys().map(String::as_str).zip(0..).collect();
        let links = model
            .switches
            .values()
            .map(|switch| {
                let ports = switch.ports.iter().filter_map(|(port, port_info)| {
                    let Peer::Switch { switch: peer, .. } = &port_info.peer else {
                        return None;
                    };
                    let link = model.links.get(&port_info.link)?;
                    let up = link.up && !down.contains(&link.name);
                    up.then_some(Link {
                        port: *port,
                        peer: *index.get(peer.as_str())?,
                        metric: u64::from(link.metric.max(1)),
                        mtu: port_info.mtu,
                    })
                });
                ports.collect()
            })
            .collect();
        Self { links }
    }

    /// How far everybody is from `destination`; links cost the same in both directions.
    pub(super) fn distances(&self, destination: usize) -> Distances {
        let mut distances: Distances = vec![None; self.links.len()];
        let mut queue = BinaryHeap::from([(Reverse(0), destination)]);
        while let Some((Reverse(distance), at)) = queue.pop() {
            if distances[at].is_some() {
                continue;
            }
            distances[at] = Some(distance);
            for link in &self.links[at] {
                if distances[link.peer].is_none() {
                    queue.push((Reverse(distance + link.metric), link.peer));
                }
            }
        }
        distances
    }

    /// The largest packet that passes from each switch to the destination, whichever shortest path it takes;
    /// `u32::MAX` at the destination, and where there is no way.
    pub(super) fn path_mtus(&self, distances: &Distances) -> Vec<u32> {
        let mut order: Vec<_> = (0..distances.len()).collect();
        // Who is nearer comes first, so that it is known when it is asked for.
        order.sort_by_key(|&at| distances[at]);
        let mut mtus = vec![u32::MAX; distances.len()];
        for at in order {
            let Some(distance) = distances[at] else {
                continue;
            };
            mtus[at] = self
                .nearer(at, distance, distances)
                .map(|link| link.mtu.min(mtus[link.peer]))
                .min()
                .unwrap_or(u32::MAX);
        }
        mtus
    }

    /// Every port of `from` that begins a shortest path, in order.
    pub(super) fn next_hops(&self, from: usize, distances: &Distances) -> Vec<PortNo> {
        let Some(distance) = distances[from] else {
            return Vec::new();
        };
        self.nearer(from, distance, distances)
            .map(|link| link.port)
            .collect()
    }

    /// The links of a switch at a distance that begin a shortest path.
    fn nearer(
        &self,
        from: usize,
        distance: u64,
        distances: &Distances,
    ) -> impl Iterator<Item = &Link> {
        self.links[from].iter().filter(move |link| {
            distances[link.peer].is_some_and(|rest| rest + link.metric == distance)
        })
    }
}
