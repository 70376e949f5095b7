//! `weft link`: links while the lab runs.

use std::time::Duration;

use hyper::Method;
use serde_json::Value;
use weft_lab::client::{ApiClient, path_segment};

use crate::args::{Format, Global, Link, LinkSet, LinkState};
use crate::failure::{Failure, UNAVAILABLE};
use crate::output::{print, print_json, say};
use crate::target;

/// How often the link is looked at while the network follows.
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(crate) async fn run(global: &Global, args: &Link) -> Result<(), Failure> {
    match args {
        Link::Set(args) => set(global, args).await,
    }
}

async fn set(global: &Global, args: &LinkSet) -> Result<(), Failure> {
    let word = args.state.map(|state| match state {
        LinkState::Up => "up",
        LinkState::Down => "down",
    });
    let client = target::api(global)?;
    let path = format!("/v1/links/{}", path_segment(&args.link));
    let body = args.patch(word).to_string().into();
    let headers = [("content-type", "application/merge-patch+json")];
    let answer = target::call(&client, Method::PATCH, &path, &headers, Some(body)).await?;
    let mut link = answer.json();
    let mut is_settled = follows(&client, &link, word).await?;
    if args.wait > 0 && !is_settled {
        let waited = Duration::from_secs(args.wait.into());
        let settle = settle(&client, &path, word);
        link = tokio::time::timeout(waited, settle).await.map_err(|_| {
            Failure::message(
                UNAVAILABLE,
                format!(
                    "link {} was declared so, and the network has not followed within {waited:?}",
                    args.link
                ),
            )
        })??;
        is_settled = true;
    }
    for condition in link["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        if let Some(detail) = condition["detail"].as_str() {
            say(format_args!("warning: {detail}"));
        }
    }
    match global.output {
        Format::Json => print_json(&link),
        Format::Table => print(&format!(
            "link {} {} {}\n",
            link["name"].as_str().unwrap_or(&args.link),
            if is_settled { "is" } else { "will be" },
            word.unwrap_or("as declared"),
        )),
    }
    Ok(())
}

impl LinkSet {
    /// What changes, as a merge patch.
    fn patch(&self, word: Option<&str>) -> Value {
        let mut patch = serde_json::Map::new();
        let mut set = |key: &str, value: Option<Value>| {
            patch.extend(value.map(|value| (key.to_owned(), value)));
        };
        set("state", word.map(Value::from));
        set("metric", self.metric.map(Value::from));
        set("capacity", self.capacity.clone().map(Value::from));
        let impair: serde_json::Map<String, Value> = [
            ("delay", &self.delay),
            ("jitter", &self.jitter),
            ("loss", &self.loss),
            ("rate", &self.rate),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), Value::from(value.clone()?))))
        .collect();
        set(
            "impair",
            (!impair.is_empty()).then_some(Value::Object(impair)),
        );
        set("impair", self.clear.then_some(Value::Null));
        Value::Object(patch)
    }
}

/// Looks until the link is in the state, and every switch forwards by it.
async fn settle(client: &ApiClient, path: &str, word: Option<&str>) -> Result<Value, Failure> {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let answer = target::call(client, Method::GET, path, &[], None).await?;
        let link = answer.json();
        if follows(client, &link, word).await? {
            return Ok(link);
        }
    }
}

/// Whether the data plane has reported the state, and the switches have what follows from it.
async fn follows(client: &ApiClient, link: &Value, word: Option<&str>) -> Result<bool, Failure> {
    let is_there = word.is_none_or(|word| link["state"] == word);
    Ok(is_there && client.get("/v1/health/ready").await?.status.is_success())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn link_set() -> LinkSet {
        LinkSet {
            link: "l".to_owned(),
            state: None,
            delay: None,
            jitter: None,
            loss: None,
            rate: None,
            clear: false,
            metric: None,
            capacity: None,
            wait: 5,
        }
    }

    #[test]
    fn flags_become_a_merge_patch() {
        let set = LinkSet {
            delay: Some("10ms".to_owned()),
            loss: Some("1%".to_owned()),
            metric: Some(5),
            ..link_set()
        };
        assert_eq!(
            set.patch(Some("up")),
            json!({ "state": "up", "metric": 5, "impair": { "delay": "10ms", "loss": "1%" } })
        );
        let clear = LinkSet {
            clear: true,
            ..link_set()
        };
        assert_eq!(clear.patch(None), json!({ "impair": null }));
    }
}
