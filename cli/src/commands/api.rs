//! `weft api`: a request as it is, the answer as it is.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use hyper::Method;

use crate::args::{Api, Global};
use crate::failure::{Failure, USAGE};
use crate::output::{print_bytes, print_json, say};
use crate::target;

pub(crate) async fn run(global: &Global, args: &Api) -> Result<ExitCode, Failure> {
    let method = match (&args.method, &args.data) {
        (Some(method), _) => method
            .to_uppercase()
            .parse()
            .map_err(|_| Failure::message(USAGE, format!("`{method}` is no method")))?,
        (None, Some(_)) => Method::POST,
        (None, None) => Method::GET,
    };
    let mut headers = Vec::new();
    for header in &args.header {
        let (name, value) = header.split_once(':').ok_or_else(|| {
            Failure::message(USAGE, format!("`{header}` is no header, `Name: value` is"))
        })?;
        headers.push((name.trim(), value.trim()));
    }
    let body = args.data.as_deref().map(target::body).transpose()?;
    let path = if args.path.starts_with('/') {
        args.path.clone()
    } else {
        format!("/v1/{}", args.path)
    };
    let client = target::api(global)?;
    let answer = client.request(method, &path, &headers, body).await?;
    if args.include {
        say(answer.status);
        for (name, value) in &answer.headers {
            say(format_args!(
                "{name}: {}",
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
    }
    let parsed = answer.json();
    if std::io::stdout().is_terminal() && !parsed.is_null() {
        print_json(&parsed);
    } else {
        print_bytes(&answer.body);
    }
    let code = target::status_code(answer.status);
    if code.is_some() && !args.include {
        say(answer.status);
    }
    Ok(code.map_or(ExitCode::SUCCESS, ExitCode::from))
}
