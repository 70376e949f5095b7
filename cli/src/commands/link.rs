//! `weft link`: links while the lab runs.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use weft_lab::client::{ApiClient, path_segment};

use crate::args::{Format, Global, Link, LinkSet, LinkState};
use crate::failure::{Failure, UNAVAILABLE, USAGE};
use crate::output::{print, print_json};
use crate::target;

/// How often the link is looked at while the network follows.
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(crate) async fn run(global: &Global, args: &Link) -> Result<(), Failure> {
    match args {
        Link::Set(args) => set(global, args).await,
    }
}

async fn set(global: &Global, args: &LinkSet) -> Result<(), Failure> {
    let Some(state) = args.state.filter(|_| !args.impairs()) else {
        return Err(Failure::message(
            USAGE,
            "delay, jitter, loss and rate of links are not supported yet; `up` and `down` are",
        ));
    };
    let word = match state {
        LinkState::Up => "up",
        LinkState::Down => "down",
    };
    let client = target::api(global)?;
    let path = format!("/v1/links/{}", path_segment(&args.link));
    let body = json!({ "state": word }).to_string().into();
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
                    "link {} was declared {word}, and the network has not followed within {waited:?}",
                    args.link
                ),
            )
        })??;
        is_settled = true;
    }
    match global.output {
        Format::Json => print_json(&link),
        Format::Table => print(&format!(
            "link {} {} {word}\n",
            link["name"].as_str().unwrap_or(&args.link),
            if is_settled { "is" } else { "will be" },
        )),
    }
    Ok(())
}

impl LinkSet {
    /// Whether it is about more than the state.
    fn impairs(&self) -> bool {
        let values = [&self.delay, &self.jitter, &self.loss, &self.rate];
        self.clear || values.into_iter().any(Option::is_some)
    }
}

/// Looks until the link is in the state, and every switch forwards by it.
async fn settle(client: &ApiClient, path: &str, word: &str) -> Result<Value, Failure> {
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
async fn follows(client: &ApiClient, link: &Value, word: &str) -> Result<bool, Failure> {
    Ok(link["state"] == word && client.get("/v1/health/ready").await?.status.is_success())
}
