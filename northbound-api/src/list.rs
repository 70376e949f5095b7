//! Lists: `{ items, revision, next }`, in pages, narrowed by a selector over labels.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use weft_controller::problem::{Code, FieldError};
use weft_controller::store::Revision;

use crate::problem::Problem;
use crate::request::Params;

/// Most items of one page, and the number where none is asked for.
pub(crate) const MAX_LIMIT: usize = 1000;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    /// The items, by name.
    items: Vec<T>,
    /// The revision that the list shows.
    revision: String,
    /// The next page's `cursor`; null on the last page.
    next: Option<String>,
}

/// Query parameters of every list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters; they are read by name")]
pub(crate) struct ListParams {
    /// Most items of the page.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<usize>,
    /// Where the page begins: `next` of the page before.
    cursor: Option<String>,
    /// Labels that items must have: `app=web,tier!=test,owner,!old`.
    selector: Option<String>,
}

/// Names of the parameters that every list takes.
pub(crate) const PARAMS: [&str; 3] = ["limit", "cursor", "selector"];

/// An item of a list.
pub(crate) trait Item: Serialize {
    /// What the list is ordered by; unique in it.
    fn key(&self) -> String;
    /// What selectors look at.
    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        None
    }
}

/// Answers one page of `items`.
pub(crate) fn page<T: Item>(
    params: &Params,
    revision: Revision,
    items: impl IntoIterator<Item = T>,
) -> Result<Response, Problem> {
    let limit = limit(params)?;
    let after = cursor(params)?;
    let selector = Selector::parse(params.get("selector").unwrap_or_default())?;
    let none = BTreeMap::new();
    let mut keyed: Vec<(String, T)> = items
        .into_iter()
        .filter(|item| selector.matches(item.labels().unwrap_or(&none)))
        .map(|item| (item.key(), item))
        .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after))
        .collect();
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    let has_more = keyed.len() > limit;
    keyed.truncate(limit);
    let next = keyed
        .last()
        .filter(|_| has_more)
        .map(|(key, _)| hex(key.as_bytes()));
    let page = Page {
        items: keyed.into_iter().map(|(_, item)| item).collect(),
        revision: revision.to_string(),
        next,
    };
    Ok(axum::Json(page).into_response())
}

fn limit(params: &Params) -> Result<usize, Problem> {
    let Some(text) = params.get("limit") else {
        return Ok(MAX_LIMIT);
    };
    match text.parse() {
        Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        _ => Err(Problem::parameter(FieldError::new(
            "?limit",
            Code::OutOfRange,
            format!("limit is 1 to {MAX_LIMIT}"),
        ))),
    }
}

fn cursor(params: &Params) -> Result<Option<String>, Problem> {
    let Some(text) = params.get("cursor") else {
        return Ok(None);
    };
    let key = unhex(text).and_then(|bytes| String::from_utf8(bytes).ok());
    match key {
        Some(key) => Ok(Some(key)),
        None => Err(Problem::parameter(FieldError::new(
            "?cursor",
            Code::WrongFormat,
            "a cursor is what the page before gave as next",
        ))),
    }
}

/// Conditions on labels, all of which must hold.
#[derive(Debug, Default)]
struct Selector {
    terms: Vec<Term>,
}

#[derive(Debug)]
struct Term {
    label: String,
    value: Option<String>,
    wanted: bool,
}

impl Selector {
    fn parse(text: &str) -> Result<Self, Problem> {
        let mut terms = Vec::new();
        for part in text.split(',').map(str::trim) {
            if part.is_empty() && text.trim().is_empty() {
                continue;
            }
            let (label, value, wanted) = if let Some((label, value)) = part.split_once("!=") {
                (label, Some(value), false)
            } else if let Some((label, value)) = part.split_once("==") {
                (label, Some(value), true)
            } else if let Some((label, value)) = part.split_once('=') {
                (label, Some(value), true)
            } else if let Some(label) = part.strip_prefix('!') {
                (label, None, false)
            } else {
                (part, None, true)
            };
            let (label, value) = (label.trim(), value.map(str::trim));
            let is_word = |text: &str| !text.contains(['=', '!', ' ']);
            if label.is_empty() || !is_word(label) || !value.is_none_or(is_word) {
                return Err(Problem::parameter(FieldError::new(
                    "?selector",
                    Code::WrongFormat,
                    "a selector is label=value, label!=value, label or !label, separated by commas",
                )));
            }
            terms.push(Term {
                label: label.to_owned(),
                value: value.map(str::to_owned),
                wanted,
            });
        }
        Ok(Self { terms })
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.terms.iter().all(|term| {
            let found = labels
                .get(&term.label)
                .is_some_and(|value| term.value.as_ref().is_none_or(|wanted| wanted == value));
            found == term.wanted
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn selectors_hold_when_all_their_terms_do() {
        let web = labels(&[("app", "web"), ("tier", "front")]);
        for (selector, holds) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app=db", false),
            ("app!=db", true),
            ("tier", true),
            ("!tier", false),
            ("!old , app", true),
            ("app=web,tier!=front", false),
        ] {
            let parsed = Selector::parse(selector).unwrap();
            assert_eq!(parsed.matches(&web), holds, "{selector}");
        }
        for wrong in ["=", "a=b=c", ",", "a,,b", "!", "a b"] {
            assert!(Selector::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cursors_survive_any_name() {
        for name in ["edge1", "a:b--c:d", "ü/x"] {
            assert_eq!(unhex(&hex(name.as_bytes())).unwrap(), name.as_bytes());
        }
        assert!(unhex("0").is_none() && unhex("zz").is_none() && unhex("ü").is_none());
    }
}
