//! Judging where packets went.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use weft_controller::model::Model;
use weft_controller::names::select;
use weft_controller::spec::{PathExpect, SpreadExpect};

use super::{Judgement, percent, ratio};
use crate::test::observe::{Flow, Way, WayEnd};
use crate::test::probe::Try;
use crate::test::report::Verdict;

/// Judges how the flows of all cases of a test spread.
pub fn judge_spread(
    spread: &SpreadExpect,
    flows: &BTreeMap<Flow, BTreeSet<&str>>,
    model: &Model,
) -> Judgement {
    let mut failures = Vec::new();
    let mut shares = Map::new();
    let mut words = Vec::new();
    if flows.is_empty() {
        failures.push("no flow was seen".to_owned());
    }
    for name in spread
        .over
        .iter()
        .flat_map(|pattern| picked(pattern, model))
    {
        let count = flows
            .values()
            .filter(|names| names.contains(name.as_str()))
            .count();
        let share = ratio(count, flows.len());
        let text = format!("{name} {}", percent(share));
        if share < spread.min_share.fraction() && !flows.is_empty() {
            failures.push(format!(
                "{name} carries {}, less than {}",
                percent(share),
                spread.min_share
            ));
        }
        words.push(text);
        shares.insert(name, json!(count));
    }
    let mut measured = Map::new();
    measured.insert("flows".to_owned(), json!(flows.len()));
    measured.insert("over".to_owned(), Value::Object(shares));
    let detail = format!("{} flows: {}", flows.len(), words.join(", "));
    match failures.as_slice() {
        [] => Judgement {
            verdict: Verdict::Pass,
            detail,
            measured,
        },
        _ => Judgement {
            verdict: Verdict::Fail,
            detail: format!("{} ({detail})", failures.join("; ")),
            measured,
        },
    }
}

/// Every delivered packet keeps to the path.
pub(super) fn judge_path(expect: &PathExpect, ways: &[&Way], model: &Model) -> Option<String> {
    let delivered: Vec<&&Way> = ways
        .iter()
        .filter(|way| matches!(way.end, WayEnd::Delivered(_)))
        .collect();
    if delivered.is_empty() {
        let reasons: BTreeSet<&str> = ways
            .iter()
            .filter_map(|way| match &way.end {
                WayEnd::Dropped(reason) => Some(reason.as_str()),
                WayEnd::Delivered(_) | WayEnd::Controller => None,
            })
            .collect();
        let why = if reasons.is_empty() {
            "no packet was seen".to_owned()
        } else {
            format!(
                "every packet was dropped: {}",
                reasons.into_iter().collect::<Vec<_>>().join(", ")
            )
        };
        return Some(why);
    }
    delivered.into_iter().find_map(|way| {
        let taken = way.nodes.join(" > ");
        if let Some(exact) = &expect.exact
            && *exact != way.nodes
        {
            return Some(format!("the path is {taken}, not {}", exact.join(" > ")));
        }
        if !expect.any_of.is_empty() && !expect.any_of.contains(&way.nodes) {
            return Some(format!("the path is {taken}, none of those allowed"));
        }
        if let Some(missing) = expect
            .through
            .iter()
            .find(|name| !crosses(way, name, model))
        {
            return Some(format!("the path is {taken}, not through {missing}"));
        }
        if let Some(wrong) = expect
            .not_through
            .iter()
            .find(|name| crosses(way, name, model))
        {
            return Some(format!("the path is {taken}, through {wrong}"));
        }
        let switches = way
            .nodes
            .iter()
            .filter(|name| model.switches.contains_key(*name))
            .count();
        match expect.max_hops.and_then(|most| usize::try_from(most).ok()) {
            Some(most) if switches > most => Some(format!(
                "the path {taken} has {switches} switches, more than {most}"
            )),
            _ => None,
        }
    })
}

/// Whether a way crosses a node or a link.
fn crosses(way: &Way, pattern: &str, model: &Model) -> bool {
    picked(pattern, model)
        .iter()
        .any(|name| way.nodes.contains(name) || way.links.contains(name))
}

/// The nodes, else the links, that a pattern picks.
fn picked(pattern: &str, model: &Model) -> Vec<String> {
    let nodes = model
        .switches
        .keys()
        .chain(model.hosts.keys())
        .map(String::as_str);
    let nodes = select(pattern, nodes).unwrap_or_default();
    if !nodes.is_empty() {
        return nodes.into_iter().map(str::to_owned).collect();
    }
    match model.link(pattern) {
        Some(link) => vec![link.name.clone()],
        None => {
            let links = select(pattern, model.links.keys().map(String::as_str)).unwrap_or_default();
            links.into_iter().map(str::to_owned).collect()
        }
    }
}

/// The ways of the probe's own packets: other probes may run between the same hosts.
pub(super) fn own_ways<'a>(tries: &[Try], ways: &'a [Way]) -> Vec<&'a Way> {
    let ports: BTreeSet<u32> = tries
        .iter()
        .filter_map(|one| one.local)
        .map(|local| u32::from(local.port()))
        .collect();
    ways.iter()
        .filter(|way| ports.is_empty() || ports.contains(&way.flow.source_port))
        .collect()
}
