//! Which lab or controller a command is about.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::Value;
use weft_lab::client::{Answer, ApiClient, Token};
use weft_lab::runtime_dir::{LabDir, running};

use crate::args::Global;
use crate::failure::{DATA, Failure, NO_INPUT, NO_PERMISSION, UNAVAILABLE, USAGE};

/// The lab that was named, or the only one that runs.
pub(crate) fn lab(global: &Global) -> Result<LabDir, Failure> {
    match &global.lab {
        Some(name) => named(name),
        None => only(),
    }
}

/// A running lab by its name.
pub(crate) fn named(name: &str) -> Result<LabDir, Failure> {
    let dir = LabDir::new(name)?;
    if dir.is_running()? {
        return Ok(dir);
    }
    let others = names(&running()?);
    let hint = if others.is_empty() {
        "no lab is running".to_owned()
    } else {
        format!("running: {others}")
    };
    Err(Failure::message(
        UNAVAILABLE,
        format!("lab `{name}` is not running; {hint}"),
    ))
}

fn only() -> Result<LabDir, Failure> {
    let mut labs = running()?;
    match (labs.pop(), labs.is_empty()) {
        (Some(lab), true) => Ok(lab),
        (Some(lab), false) => {
            labs.push(lab);
            let names = names(&labs);
            Err(Failure::message(
                USAGE,
                format!("several labs are running, choose one with --lab: {names}"),
            ))
        }
        (None, _) => Err(Failure::message(
            UNAVAILABLE,
            "no lab is running; `weft up FILE` builds one",
        )),
    }
}

fn names(labs: &[LabDir]) -> String {
    labs.iter().map(LabDir::name).collect::<Vec<_>>().join(", ")
}

/// A client of the API that the command is about.
pub(crate) fn api(global: &Global) -> Result<ApiClient, Failure> {
    match &global.api {
        Some(url) => Ok(ApiClient::tcp(url, global.token.clone().map(Token))?),
        None => Ok(ApiClient::unix(&lab(global)?.api_socket())),
    }
}

/// Sends a request; an answer that is an error becomes a failure that says what is wrong.
pub(crate) async fn call(
    client: &ApiClient,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Bytes>,
) -> Result<Answer, Failure> {
    let answer = client.request(method, path, headers, body).await?;
    match status_code(answer.status) {
        None => Ok(answer),
        Some(code) => Err(failure(code, &answer)),
    }
}

/// What an answer says is wrong.
pub(crate) fn failure(code: u8, answer: &Answer) -> Failure {
    Failure::laid_out(code, problem(answer))
}

/// The exit status for an answer; none for one that is no error.
pub(crate) fn status_code(status: StatusCode) -> Option<u8> {
    match status.as_u16() {
        ..=399 => None,
        401 | 403 => Some(NO_PERMISSION),
        404 => Some(NO_INPUT),
        429 | 500.. => Some(UNAVAILABLE),
        _ => Some(DATA),
    }
}

/// A problem document in words.
fn problem(answer: &Answer) -> String {
    let body = answer.json();
    let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
    let title = text(&body, "title").unwrap_or_else(|| answer.status.to_string());
    let mut words = format!("error: {title}");
    let errors = body["errors"].as_array().map_or(&[][..], Vec::as_slice);
    if let Some(detail) = text(&body, "detail").filter(|detail| *detail != title) {
        words.push_str(&format!(": {detail}"));
    }
    for error in errors {
        let pointer = text(error, "pointer").unwrap_or_default();
        let detail = text(error, "detail").or_else(|| text(error, "code"));
        words.push_str(&format!("\n  {pointer}: {}", detail.unwrap_or_default()));
        if let Some(like) = text(error, "didYouMean") {
            words.push_str(&format!("; did you mean `{like}`?"));
        }
        let allowed: Vec<&str> = error["allowed"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !allowed.is_empty() {
            words.push_str(&format!("\n    allowed: {}", allowed.join(", ")));
        }
    }
    words
}

/// All pages of a list, as one `{ items, revision }`.
pub(crate) async fn list(client: &ApiClient, path: &str) -> Result<Value, Failure> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let after = cursor.map_or_else(String::new, |cursor| {
            format!("&cursor={}", weft_lab::client::path_segment(&cursor))
        });
        let page = call(
            client,
            Method::GET,
            &format!("{path}?limit=1000{after}"),
            &[],
            None,
        )
        .await?;
        let mut page = page.json();
        let Some(found) = page["items"].as_array_mut() else {
            // Not a list: an object that is addressed as one.
            return Ok(page);
        };
        items.append(found);
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(serde_json::json!({ "items": items, "revision": page["revision"] }));
        }
    }
}

/// A body given on the command line: text, `@FILE`, or `@-` for standard input.
pub(crate) fn body(given: &str) -> Result<Bytes, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(
            NO_INPUT,
            anyhow::Error::new(error).context(format!("cannot read {given}")),
        )
    };
    match given.strip_prefix('@') {
        None => Ok(Bytes::copy_from_slice(given.as_bytes())),
        Some("-") => {
            let mut read = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut read).map_err(failed)?;
            Ok(read.into())
        }
        Some(file) => std::fs::read(file).map(Bytes::from).map_err(failed),
    }
}
