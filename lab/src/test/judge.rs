//! Judging: what was seen against what was expected. Pure, so that each rule has its test.

mod answer;
mod path;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use weft_controller::model::Model;
use weft_controller::names::glob_matches;
use weft_controller::quantity::TimeSpan;
use weft_controller::spec::{Connect, OneOrMany, RttExpect};

pub use self::path::judge_spread;

use super::cases::{Case, Packets, Probe, Target};
use super::observe::{Way, WayEnd};
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
    let expect = &case.expect;
    let tries = &seen.tries;
    let answered: Vec<&Try> = tries
        .iter()
        .filter(|one| one.end == End::Answered)
        .collect();
    let lost = tries.len() - answered.len();
    let loss = ratio(lost, tries.len());
    let mine = path::own_ways(tries, ways);

    let mut failures: Vec<String> = Vec::new();
    match &case.probe {
        Probe::Exec(program) => failures.extend(answer::judge_end(program, tries)),
        Probe::Packets(target, packets) => {
            if let Some(most) = expect.loss {
                if loss > most.fraction() {
                    failures.push(format!("loss {} is above {most}", percent(loss)));
                }
            } else if expect.connect.is_none() {
                // A ping without a bound on loss wants a sign of life; everything else wants an answer each time.
                let may_lose = *packets == Packets::Ping && !answered.is_empty();
                if lost > 0 && !may_lose {
                    failures.push(unanswered(tries, lost));
                }
            }
            if let Some(connect) = expect.connect {
                failures.extend(judge_connect(connect, case, target, tries, ways));
            }
        }
    }
    if let Some(bounds) = &expect.rtt {
        failures.extend(judge_rtt(bounds, &rtts(tries)));
    }
    // What did not end in time is told already.
    if let Some(most) = expect.within
        && let Some(slowest) = answered.iter().map(|one| one.took).max()
        && slowest > most.as_duration()
    {
        failures.push(format!("it took {}, more than {most}", millis(slowest)));
    }
    failures.extend(answer::judge_answers(expect, &answered));
    if let Some(bounds) = &expect.throughput {
        failures.extend(answer::judge_throughput(bounds, &answered));
    }
    if let Some(hosts) = &expect.served_by {
        failures.extend(first(&answered, |one| match &one.served_by {
            Some(host) if matches_any(hosts, host) => None,
            Some(host) => Some(format!("`{host}` answered, not {}", list(hosts))),
            None => Some("nobody says that he answered".to_owned()),
        }));
    }
    if answered.is_empty() && failures.is_empty() && answer::wants_one(expect) {
        failures.push("there was no answer".to_owned());
    }
    if let Some(expected) = &expect.path {
        failures.extend(path::judge_path(expected, &mine, model));
    }
    let measured = measure(case, tries, &mine, &rtts(tries), loss);
    if failures.is_empty() {
        Judgement {
            verdict: Verdict::Pass,
            detail: summary(case, tries, &answered),
            measured,
        }
    } else {
        let mut detail = failures.join("; ");
        detail.extend(tries.iter().find_map(answer::last_words));
        Judgement {
            verdict: Verdict::Fail,
            detail,
            measured,
        }
    }
}

fn unanswered(tries: &[Try], lost: usize) -> String {
    let others: Vec<Try> = tries
        .iter()
        .filter(|one| one.end != End::Answered)
        .cloned()
        .collect();
    format!("{lost} of {} not answered: {}", tries.len(), ends(&others))
}

fn judge_connect(
    connect: Connect,
    case: &Case,
    target: &Target,
    tries: &[Try],
    ways: &[Way],
) -> Vec<String> {
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
    let is_reached = |way: &&Way| match (&way.end, &target.host) {
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

fn measure(
    case: &Case,
    tries: &[Try],
    ways: &[&Way],
    rtts: &[Duration],
    loss: f64,
) -> Map<String, Value> {
    let mut measured = Map::new();
    if matches!(case.probe, Probe::Packets(..)) {
        let answered = tries.iter().filter(|one| one.end == End::Answered).count();
        measured.insert("sent".to_owned(), json!(tries.len()));
        measured.insert("answered".to_owned(), json!(answered));
        measured.insert("loss".to_owned(), json!(percent(loss)));
    }
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
        "servedBy",
        tries
            .iter()
            .filter_map(|one| one.served_by.clone())
            .collect(),
    );
    answer::measure(tries, &mut measured);
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

fn summary(case: &Case, tries: &[Try], answered: &[&Try]) -> String {
    let packets = match &case.probe {
        Probe::Exec(_) => return answer::say(answered).unwrap_or_default(),
        Probe::Packets(_, packets) => packets,
    };
    let what = match packets {
        Packets::Ping | Packets::Udp { .. } | Packets::Dns { .. } => "answered",
        Packets::Tcp { .. } => "connected",
        Packets::Http { .. } => "served",
    };
    let mut text = match case.expect.connect {
        Some(Connect::Never) => "nothing arrived".to_owned(),
        Some(Connect::Timeout | Connect::Refused) => ends(tries),
        Some(Connect::Ok) | None => format!("{}/{} {what}", answered.len(), tries.len()),
    };
    if let Some(said) = answer::say(answered) {
        text.push_str(&format!(", {said}"));
    }
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
            End::Killed => "killed".to_owned(),
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
