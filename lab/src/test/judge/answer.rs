//! Judging what was answered: texts, pages, names, programs and bulk transfers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use regex::RegexBuilder;
use serde_json::{Map, Value, json};
use weft_controller::quantity::{BitsPerSec, TimeSpan};
use weft_controller::spec::{Expect, OneOrMany, ThroughputExpect};

use super::{first, shorten};
use crate::test::cases::Program;
use crate::test::probe::{Answer, Bulk, End, Names, Output, Page, Try};

/// Lines and characters of a program's output that a failure shows.
const LINES: usize = 20;
const CHARACTERS: usize = 2_000;

/// Whether something is expected that only an answer can show.
pub(super) fn wants_one(expect: &Expect) -> bool {
    expect.reply.is_some()
        || expect.status.is_some()
        || expect.body_contains.is_some()
        || expect.header.is_some()
        || expect.served_by.is_some()
}

/// What is wrong with the answers, the first complaint of each kind.
pub(super) fn judge_answers(expect: &Expect, answered: &[&Try]) -> Vec<String> {
    let mut failures = Vec::new();
    if let Some(reply) = &expect.reply {
        let complaint = first(answered, |one| match &one.answer {
            Some(Answer::Text(found)) if found == reply => None,
            Some(Answer::Text(found)) => {
                Some(format!("the reply is {:?}, not {reply:?}", shorten(found)))
            }
            _ => Some("there was no reply".to_owned()),
        });
        failures.extend(complaint);
    }
    failures.extend(first(answered, |one| match &one.answer {
        Some(Answer::Page(page)) => judge_page(expect, page),
        Some(Answer::Names(names)) => judge_names(expect, names),
        Some(Answer::Output(output)) => judge_output(expect, output),
        Some(Answer::Text(_) | Answer::Bulk(_)) | None => None,
    }));
    failures
}

fn judge_page(expect: &Expect, page: &Page) -> Option<String> {
    let mut complaints = Vec::new();
    if let Some(status) = expect.status.filter(|status| *status != page.status) {
        complaints.push(format!("the status is {}, not {status}", page.status));
    }
    if let Some(part) = &expect.body_contains
        && !page.body.contains(part.as_str())
    {
        let body = shorten(&page.body);
        complaints.push(format!("the body is {body:?}, without {part:?}"));
    }
    for (name, wanted) in expect.header.iter().flatten() {
        let is_it = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        let found: Vec<&str> = page
            .headers
            .iter()
            .filter(is_it)
            .map(|(_, value)| value.trim())
            .collect();
        if found.is_empty() {
            complaints.push(format!("there is no header `{name}`"));
        } else if !found.contains(&wanted.trim()) {
            let found = shorten(&found.join(", "));
            complaints.push(format!("the header `{name}` is {found:?}, not {wanted:?}"));
        }
    }
    joined(&complaints)
}

fn judge_names(expect: &Expect, names: &Names) -> Option<String> {
    let wanted = expect.rcode.map_or(0, |rcode| rcode.number());
    if names.rcode != wanted {
        return Some(format!(
            "the answer is {}, not {}",
            rcode(names.rcode),
            rcode(wanted)
        ));
    }
    let mut complaints = Vec::new();
    complaints.extend(expect.a.as_ref().and_then(|a| judge_set("A", &names.a, a)));
    let aaaa = expect.aaaa.as_ref();
    complaints.extend(aaaa.and_then(|aaaa| judge_set("AAAA", &names.aaaa, aaaa)));
    for alias in expect.cname.iter().flat_map(OneOrMany::iter) {
        let plain = alias.trim_end_matches('.').to_ascii_lowercase();
        if !names.cname.contains(&plain) {
            let found = listed(&names.cname);
            complaints.push(format!("CNAME is {found}, not {alias}"));
        }
    }
    joined(&complaints)
}

/// Addresses in any order, all of them.
fn judge_set<T: Display + Ord>(kind: &str, found: &[T], wanted: &OneOrMany<T>) -> Option<String> {
    let sorted = |values: &[T]| {
        values
            .iter()
            .map(T::to_string)
            .collect::<BTreeSet<String>>()
    };
    (sorted(found) != sorted(&wanted.0))
        .then(|| format!("{kind} is {}, not {}", listed(found), listed(&wanted.0)))
}

fn listed<T: Display>(values: &[T]) -> String {
    match values {
        [] => "nothing".to_owned(),
        _ => values
            .iter()
            .map(T::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// A response code by its name, where it has a common one.
fn rcode(number: u16) -> String {
    match number {
        0 => "NOERROR".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("RCODE {other}"),
    }
}

fn judge_output(expect: &Expect, output: &Output) -> Option<String> {
    let mut complaints = Vec::new();
    let wanted = expect.exit.unwrap_or(0);
    if output.status != wanted {
        complaints.push(format!("exit status {}, not {wanted}", output.status));
    }
    if let Some(pattern) = &expect.stdout_matches {
        let fits = RegexBuilder::new(pattern)
            .multi_line(true)
            .build()
            .map(|regex| regex.is_match(&output.stdout));
        match fits {
            Ok(true) => {}
            Ok(false) => complaints.push(format!("nothing of its output fits {pattern:?}")),
            Err(error) => complaints.push(error.to_string()),
        }
    }
    joined(&complaints)
}

fn joined(complaints: &[String]) -> Option<String> {
    (!complaints.is_empty()).then(|| complaints.join("; "))
}

/// A program that had to be stopped, or could not be started.
pub(super) fn judge_end(program: &Program, tries: &[Try]) -> Option<String> {
    tries.iter().find_map(|one| match &one.end {
        End::Killed => {
            let bound = u64::try_from(program.timeout.as_nanos()).unwrap_or(u64::MAX);
            let bound = TimeSpan(bound);
            Some(format!("it did not end within {bound} and was killed"))
        }
        End::Broken(why) => Some(why.clone()),
        End::Answered | End::Refused | End::Silence => None,
    })
}

/// All connections of a case together.
pub(super) fn judge_throughput(bounds: &ThroughputExpect, answered: &[&Try]) -> Option<String> {
    let Some(rate) = throughput(answered.iter().copied()) else {
        return Some("no throughput was measured".to_owned());
    };
    let ThroughputExpect { min, max } = bounds;
    if let Some(least) = min.filter(|least| rate < *least) {
        return Some(format!("throughput {} is below {least}", readable(rate)));
    }
    let most = max.filter(|most| rate > *most)?;
    Some(format!("throughput {} is above {most}", readable(rate)))
}

/// The sum of the connections' rates.
fn throughput<'a>(tries: impl Iterator<Item = &'a Try>) -> Option<BitsPerSec> {
    let mut sum = None;
    for one in tries {
        if let Some(Answer::Bulk(Bulk { bytes, elapsed })) = &one.answer {
            let nanos = elapsed.as_nanos().max(1);
            let rate = u128::from(*bytes) * 8 * 1_000_000_000 / nanos;
            let rate = u64::try_from(rate).unwrap_or(u64::MAX);
            sum = Some(sum.unwrap_or(0_u64).saturating_add(rate));
        }
    }
    sum.map(BitsPerSec)
}

/// A rate with three digits or four.
fn readable(BitsPerSec(rate): BitsPerSec) -> String {
    let units = [
        (1_000_000_000, "gbit"),
        (1_000_000, "mbit"),
        (1_000, "kbit"),
    ];
    for (size, unit) in units {
        if rate >= size {
            let hundredths = rate / (size / 100);
            return format!("{}.{:02}{unit}", hundredths / 100, hundredths % 100);
        }
    }
    format!("{rate}bit")
}

/// What the answers say, in a few words.
pub(super) fn say(answered: &[&Try]) -> Option<String> {
    if let Some(rate) = throughput(answered.iter().copied()) {
        return Some(readable(rate));
    }
    match &answered.first()?.answer {
        Some(Answer::Names(names)) => {
            let addresses = names.a.iter().map(ToString::to_string);
            let addresses = addresses.chain(names.aaaa.iter().map(ToString::to_string));
            let found: Vec<String> = names.cname.iter().cloned().chain(addresses).collect();
            Some(match (names.rcode, found.as_slice()) {
                (0, found) => listed(found),
                (other, _) => rcode(other),
            })
        }
        Some(Answer::Output(output)) => Some(format!("exit status {}", output.status)),
        _ => None,
    }
}

/// The end of what a program said, on lines of its own.
pub(super) fn last_words(one: &Try) -> Option<String> {
    let Some(Answer::Output(output)) = &one.answer else {
        return None;
    };
    let said = [("stdout", &output.stdout), ("stderr", &output.stderr)];
    let said: String = said
        .into_iter()
        .filter(|(_, text)| !text.trim().is_empty())
        .map(|(name, text)| format!("\n{name}: {}", end_of(text)))
        .collect();
    (!said.is_empty()).then_some(said)
}

fn end_of(text: &str) -> String {
    let text = text.trim_end();
    let lines: Vec<&str> = text.lines().collect();
    let kept = lines[lines.len().saturating_sub(LINES)..].join("\n");
    let skipped = kept.chars().count().saturating_sub(CHARACTERS);
    let kept: String = kept.chars().skip(skipped).collect();
    if kept.len() < text.len() {
        format!("…{kept}")
    } else {
        kept
    }
}

/// The numbers behind it.
pub(super) fn measure(tries: &[Try], measured: &mut Map<String, Value>) {
    let mut counted: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for one in tries {
        let (key, value) = match &one.answer {
            Some(Answer::Page(page)) => ("status", page.status.to_string()),
            Some(Answer::Names(names)) => ("rcode", rcode(names.rcode)),
            Some(Answer::Output(output)) => {
                measured.insert("exit".to_owned(), json!(output.status));
                continue;
            }
            Some(Answer::Text(_) | Answer::Bulk(_)) | None => continue,
        };
        *counted.entry((key, value)).or_default() += 1;
    }
    for ((key, value), count) in counted {
        let counts = measured.entry(key).or_insert_with(|| json!({}));
        counts[value.as_str()] = json!(count);
    }
    let names = tries.iter().find_map(|one| match &one.answer {
        Some(Answer::Names(names)) => Some(names),
        _ => None,
    });
    if let Some(Names { a, aaaa, cname, .. }) = names {
        measured.insert("a".to_owned(), json!(a));
        measured.insert("aaaa".to_owned(), json!(aaaa));
        measured.insert("cname".to_owned(), json!(cname));
    }
    if let Some(BitsPerSec(rate)) = throughput(tries.iter()) {
        measured.insert("throughputBps".to_owned(), json!(rate));
    }
}
