//! Judging: what was seen against what was expected. Pure, so that each rule has its test.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};
use weft_controller::model::Model;
use weft_controller::names::{glob_matches, select};
use weft_controller::quantity::TimeSpan;
use weft_controller::spec::{Connect, OneOrMany, PathExpect, RttExpect, SpreadExpect};

use super::cases::{Case, Probe};
use super::observe::{Flow, Way, WayEnd};
use super::probe::{End, Seen, Try};
use super::report::Verdict;

/// A verdict with its reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Pass or fail.
    pub verdict: Verdict,
    /// Why, in words.
    pub detail: String,
    /// The numbers behind it.
    pub measured: Map<String, Value>,
}

/// Judges a case. `ways` are those of its packets, where they were recorded.
pub fn judge(case: &Case, seen: &Seen, ways: &[Way], model: &Model) -> Judgement {
    let mut failures = Vec::new();
    let expect = &case.expect;
    let tries = &seen.tries;
    let answered: Vec<&Try> = tries
        .iter()
        .filter(|one| one.end == End::Answered)
        .collect();
    let lost = tries.len() - answered.len();
    let loss = ratio(lost, tries.len());

    if let Some(most) = expect.loss {
        if loss > most.fraction() {
            failures.push(format!("loss {} is above {most}", percent(loss)));
        }
    } else if expect.connect.is_none() {
        // A ping without a bound on loss wants a sign of life; everything else wants an answer each time.
        let is_ping = matches!(case.probe, Probe::Ping(_));
        let unanswered: Vec<Try> = tries
            .iter()
            .filter(|one| one.end != End::Answered)
            .cloned()
            .collect();
        if answered.is_empty() || (lost > 0 && !is_ping) {
            failures.push(format!(
                "{lost} of {} not answered: {}",
                tries.len(),
                ends(&unanswered)
            ));
        }
    }
    if let Some(connect) = expect.connect {
        failures.extend(judge_connect(connect, case, tries, ways));
    }
    if let Some(bounds) = &expect.rtt {
        failures.extend(judge_rtt(bounds, &rtts(tries)));
    }
    if let Some(most) = expect.within {
        let slowest = tries.iter().map(|one| one.took).max().unwrap_or_default();
        if slowest > most.as_duration() {
            failures.push(format!("it took {}, more than {most}", millis(slowest)));
        }
    }
    if let Some(reply) = &expect.reply {
        failures.extend(first(&answered, |one| match &one.reply {
            Some(found) if found == reply => None,
            Some(found) => Some(format!("the reply is {:?}, not {reply:?}", shorten(found))),
            None => Some("there was no reply".to_owned()),
        }));
        if answered.is_empty() && failures.is_empty() {
            failures.push("there was no reply".to_owned());
        }
    }
    if let Some(status) = expect.status {
        failures.extend(first(&answered, |one| match one.status {
            Some(found) if found == status => None,
            found => Some(format!(
                "the status is {}, not {status}",
                found.map_or_else(|| "missing".to_owned(), |s| s.to_string())
            )),
        }));
    }
    if let Some(part) = &expect.body_contains {
        failures.extend(first(&answered, |one| {
            let body = one.reply.as_deref().unwrap_or_default();
            (!body.contains(part.as_str()))
                .then(|| format!("the body is {:?}, without {part:?}", shorten(body)))
        }));
    }
    if let Some(hosts) = &expect.served_by {
        failures.extend(first(&answered, |one| match &one.served_by {
            Some(host) if matches_any(hosts, host) => None,
            Some(host) => Some(format!("`{host}` answered, not {}", list(hosts))),
            None => Some("nobody says that he answered".to_owned()),
        }));
    }
    let mine = own_ways(tries, ways);
    if let Some(path) = &expect.path {
        failures.extend(judge_path(path, &mine, model));
    }
    let measured = measure(tries, &mine, &rtts(tries), loss);
    if failures.is_empty() {
        let detail = summary(case, tries, answered.len());
        Judgement {
            verdict: Verdict::Pass,
            detail,
            measured,
        }
    } else {
        Judgement {
            verdict: Verdict::Fail,
            detail: failures.join("; "),
            measured,
        }
    }
}

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

fn judge_connect(connect: Connect, case: &Case, tries: &[Try], ways: &[Way]) -> Vec<String> {
    let wanted = match connect {
        Connect::Ok => End::Answered,
        Connect::Refused => End::Refused,
        Connect::Timeout | Connect::Never => End::Silence,
    };
    let word = match connect {
        Connect::Ok => "an answer",
        Connect::Refused => "a refusal",
        Connect::Timeout | Connect::Never => "silence",
    };
    let mut failures = Vec::new();
    if tries.iter().any(|one| one.end != wanted) {
        failures.push(format!("expected {word}, found {}", ends(tries)));
    }
    if connect != Connect::Never {
        return failures;
    }
    let is_reached = |way: &&Way| match (&way.end, &case.target) {
        (WayEnd::Delivered(host), Some(target)) => host == target,
        (WayEnd::Delivered(_), None) => true,
        _ => false,
    };
    let packets: u64 = ways.iter().filter(is_reached).map(|way| way.packets).sum();
    if packets > 0 {
        let noun = if packets == 1 { "packet" } else { "packets" };
        failures.push(format!("{packets} {noun} reached {}", case.to));
    }
    failures
}

fn judge_rtt(bounds: &RttExpect, rtts: &[Duration]) -> Vec<String> {
    let (Some(least), Some(most)) = (rtts.first(), rtts.last()) else {
        return vec!["no round-trip time was measured".to_owned()];
    };
    let mut failures = Vec::new();
    let mut above = |what: &str, found: Duration, bound: Option<TimeSpan>| {
        if let Some(bound) = bound.filter(|bound| found > bound.as_duration()) {
            failures.push(format!("{what} {} is above {bound}", millis(found)));
        }
    };
    above("rtt", *most, bounds.max);
    above("rtt p99", quantile(rtts, 99), bounds.p99);
    if let Some(bound) = bounds.min.filter(|bound| *least < bound.as_duration()) {
        failures.push(format!("rtt {} is below {bound}", millis(*least)));
    }
    failures
}

/// Every delivered packet keeps to the path.
fn judge_path(expect: &PathExpect, ways: &[&Way], model: &Model) -> Option<String> {
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
fn own_ways<'a>(tries: &[Try], ways: &'a [Way]) -> Vec<&'a Way> {
    let ports: BTreeSet<u32> = tries
        .iter()
        .filter_map(|one| one.local)
        .map(|local| u32::from(local.port()))
        .collect();
    ways.iter()
        .filter(|way| ports.is_empty() || ports.contains(&way.flow.source_port))
        .collect()
}

fn rtts(tries: &[Try]) -> Vec<Duration> {
    let mut rtts: Vec<Duration> = tries.iter().filter_map(|one| one.rtt).collect();
    rtts.sort_unstable();
    rtts
}

/// The value that so many of 100 do not exceed.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn measure(tries: &[Try], ways: &[&Way], rtts: &[Duration], loss: f64) -> Map<String, Value> {
    let mut measured = Map::new();
    let answered = tries.iter().filter(|one| one.end == End::Answered).count();
    measured.insert("sent".to_owned(), json!(tries.len()));
    measured.insert("answered".to_owned(), json!(answered));
    measured.insert("loss".to_owned(), json!(percent(loss)));
    if let (Some(least), Some(most)) = (rtts.first(), rtts.last()) {
        let sum: Duration = rtts.iter().sum();
        let mean = sum / u32::try_from(rtts.len()).unwrap_or(u32::MAX).max(1);
        let rtt = json!({
            "min": in_millis(*least), "mean": in_millis(mean), "p99": in_millis(quantile(rtts, 99)), "max": in_millis(*most),
        });
        measured.insert("rttMs".to_owned(), rtt);
    }
    let slowest = tries.iter().map(|one| one.took).max().unwrap_or_default();
    measured.insert("tookMs".to_owned(), in_millis(slowest));
    let mut count = |key: &str, values: Vec<String>| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for value in values {
            *counts.entry(value).or_default() += 1;
        }
        if !counts.is_empty() {
            measured.insert(key.to_owned(), json!(counts));
        }
    };
    count(
        "status",
        tries
            .iter()
            .filter_map(|one| one.status)
            .map(|status| status.to_string())
            .collect(),
    );
    count(
        "servedBy",
        tries
            .iter()
            .filter_map(|one| one.served_by.clone())
            .collect(),
    );
    if !ways.is_empty() {
        let mut paths: BTreeMap<String, u64> = BTreeMap::new();
        for way in ways {
            let mut path = way.nodes.join(" > ");
            if let WayEnd::Dropped(reason) = &way.end {
                path.push_str(&format!(" dropped: {reason}"));
            }
            *paths.entry(path).or_default() += way.packets;
        }
        measured.insert("paths".to_owned(), json!(paths));
    }
    measured
}

fn summary(case: &Case, tries: &[Try], answered: usize) -> String {
    let what = match case.probe {
        Probe::Ping(_) | Probe::Udp { .. } => "answered",
        Probe::Tcp { .. } => "connected",
        Probe::Http { .. } => "served",
    };
    let mut text = match case.expect.connect {
        Some(Connect::Never) => "nothing arrived".to_owned(),
        Some(Connect::Timeout | Connect::Refused) => ends(tries),
        Some(Connect::Ok) | None => format!("{answered}/{} {what}", tries.len()),
    };
    match rtts(tries).as_slice() {
        [] => {}
        [only] => text.push_str(&format!(", rtt {}", millis(*only))),
        [least, .., most] => {
            text.push_str(&format!(", rtt {} to {}", millis(*least), millis(*most)))
        }
    }
    text
}

/// How tries ended, counted: `2 answered, 1 refused`.
fn ends(tries: &[Try]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for one in tries {
        let word = match &one.end {
            End::Answered => "answered".to_owned(),
            End::Refused => "refused".to_owned(),
            End::Silence => "without answer".to_owned(),
            End::Broken(why) => format!("broken ({why})"),
        };
        *counts.entry(word).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The first complaint about the tries, with how many there are.
fn first(tries: &[&Try], complaint: impl Fn(&Try) -> Option<String>) -> Option<String> {
    let mut complaints = tries.iter().filter_map(|one| complaint(one));
    let text = complaints.next()?;
    match complaints.count() {
        0 => Some(text),
        more => Some(format!("{text} (and {more} more)")),
    }
}

fn matches_any(patterns: &OneOrMany<String>, name: &str) -> bool {
    patterns.iter().any(|pattern| {
        weft_controller::names::expand(pattern)
            .is_ok_and(|patterns| patterns.iter().any(|pattern| glob_matches(pattern, name)))
    })
}

fn list(names: &OneOrMany<String>) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(" or ")
}

fn shorten(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain("…".chars()).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of packets, far below 2^52"
)]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

fn percent(ratio: f64) -> String {
    let text = format!("{:.2}", ratio * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn millis(span: Duration) -> String {
    format!("{:.3} ms", span.as_secs_f64() * 1e3)
}

/// Milliseconds to three places, for JSON.
fn in_millis(span: Duration) -> Value {
    json!((span.as_secs_f64() * 1e6).round() / 1e3)
}

#[cfg(test)]
mod tests;
