//! `weft apply`: what a file declares, on a lab or a controller that runs.

use hyper::Method;
use serde_json::Value;
use weft_controller::load;
use weft_controller::problem::FieldError;
use weft_lab::client::{Answer, ApiClient};
use weft_lab::plan::Plan;
use weft_lab::up::Lab;

use crate::args::{Apply, Format, Global};
use crate::failure::{DATA, Failure};
use crate::output::{print, print_json};
use crate::target;

/// Who owns what files declare.
const OWNER: &str = "file";
/// Seconds until what a file declares has to be on the switches of a new lab.
const WAIT_AT_START: u32 = 30;

pub(crate) async fn run(global: &Global, args: &Apply) -> Result<(), Failure> {
    // What is wrong with the file by itself is said before anybody is asked.
    let (plan, _) = Plan::read(&args.file, None)?;
    let client = target::api(global)?;
    let mut flags = Vec::new();
    if args.dry_run {
        flags.push("dryRun=true");
    }
    if args.no_prune {
        flags.push("prune=false");
    }
    if args.force {
        flags.push("force=true");
    }
    let applied = send(&client, &plan, &flags, args.wait).await?;
    match global.output {
        Format::Json => print_json(&applied),
        Format::Table => print(&text(&applied, args.dry_run)),
    }
    Ok(())
}

/// Declares what a file says beside its topology, where it says something.
///
/// A lab that refuses it is taken down.
pub(crate) async fn at_start(lab: Lab, plan: &Plan) -> Result<Lab, Failure> {
    let document = load::load(&plan.text, &plan.file)
        .map_err(|errors| Failure::laid_out(DATA, errors.to_string()))?;
    if document.resources().next().is_none() {
        return Ok(lab);
    }
    match send(&lab.client(), plan, &[], WAIT_AT_START).await {
        Ok(_) => Ok(lab),
        Err(failure) => {
            lab.down();
            Err(failure)
        }
    }
}

async fn send(
    client: &ApiClient,
    plan: &Plan,
    flags: &[&str],
    wait: u32,
) -> Result<Value, Failure> {
    let path = format!("/v1/apply?{}", flags.join("&"));
    let wait = format!("wait={wait}");
    let headers = [
        ("content-type", "application/yaml"),
        ("weft-manager", OWNER),
        ("prefer", wait.as_str()),
    ];
    let body = plan.text.clone().into();
    let answer = client
        .request(
            Method::POST,
            path.trim_end_matches('?'),
            &headers,
            Some(body),
        )
        .await?;
    match target::status_code(answer.status) {
        None => Ok(answer.json()),
        Some(code) => Err(refusal(&answer, plan).map_or_else(
            || target::failure(code, &answer),
            |text| Failure::laid_out(code, text),
        )),
    }
}

/// Mistakes that the controller found, at their places in the file.
fn refusal(answer: &Answer, plan: &Plan) -> Option<String> {
    let errors = answer.json()["errors"].take();
    let errors: Vec<FieldError> = serde_json::from_value(errors).ok()?;
    if errors.is_empty() {
        return None;
    }
    let located = load::locate(&plan.text, &plan.file, errors).ok()?;
    Some(located.to_string())
}

/// The difference in lines: `+` new, `~` changed, `-` taken back.
fn text(applied: &Value, is_dry: bool) -> String {
    let mut text = String::new();
    for change in applied["changes"].as_array().into_iter().flatten() {
        let word = |key: &str| change[key].as_str().unwrap_or_default();
        let sign = match word("change") {
            "add" => '+',
            "remove" => '-',
            _ => '~',
        };
        let place = ["switch", "table", "name"].map(word);
        let place: Vec<&str> = place.into_iter().filter(|part| !part.is_empty()).collect();
        text.push_str(&format!(
            "{sign} {} {}\n",
            word("collection"),
            place.join("/")
        ));
    }
    let count = |key: &str| applied["diff"][key].as_u64().unwrap_or(0);
    let tense = if is_dry { "would be " } else { "" };
    text.push_str(&format!(
        "{tense}{} added, {} changed, {} removed, {} unchanged\n",
        count("add"),
        count("change"),
        count("remove"),
        count("unchanged")
    ));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_told_in_lines() {
        let applied = json!({
            "diff": { "add": 1, "change": 1, "remove": 1, "unchanged": 4 },
            "changes": [
                { "collection": "flows", "switch": "edge1", "name": "web", "change": "add" },
                { "collection": "flows", "switch": "edge2", "name": "web", "change": "remove" },
                { "collection": "flowsets", "name": "chain", "change": "change" },
            ]
        });
        assert_eq!(
            text(&applied, true),
            "+ flows edge1/web\n- flows edge2/web\n~ flowsets chain\n\
             would be 1 added, 1 changed, 1 removed, 4 unchanged\n"
        );
    }
}
