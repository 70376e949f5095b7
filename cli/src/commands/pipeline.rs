//! `weft pipeline`: what switches execute.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Method;
use prost::Message as _;
use serde_json::{Value, json};
use weft_lab::client::path_segment;
use weft_switch::ir;
use weft_switch::program::Program;

use crate::args::{FlowWrite, Format, Global, Pipeline};
use crate::failure::{DATA, Failure, UNAVAILABLE};
use crate::output::{print, print_json, print_table, say};
use crate::target;

pub(crate) async fn run(global: &Global, command: &Pipeline) -> Result<(), Failure> {
    match command {
        Pipeline::Show { switch } => {
            let client = target::api(global)?;
            let answer = target::call(&client, Method::GET, &path(switch), &[], None).await?;
            show(global, &answer.json());
        }
        Pipeline::Set {
            switch,
            file,
            write,
            dry_run,
        } => {
            // Mistakes are told before anything is sent.
            let body = request(file)?;
            let client = target::api(global)?;
            let path = format!("{}{}", path(switch), write.query(*dry_run));
            let wait = write.wait_header();
            let headers = [("prefer", wait.as_str())];
            let body = Some(body.to_string().into());
            let answer = target::call(&client, Method::PUT, &path, &headers, body).await?;
            let pipeline = answer.json();
            show(global, &pipeline);
            if pipeline["status"]["phase"] == "rejected" {
                let conditions = pipeline["status"]["conditions"].as_array();
                let refusal = conditions
                    .into_iter()
                    .flatten()
                    .find(|condition| condition["type"] == "Rejected");
                let words = refusal.and_then(|refusal| refusal["detail"].as_str());
                let words = words.unwrap_or_default();
                let message = format!("{switch} refuses the pipeline: {words}");
                return Err(Failure::message(UNAVAILABLE, message));
            }
        }
        Pipeline::Clear { switch, write } => {
            let client = target::api(global)?;
            let path = format!("{}{}", path(switch), write.query(false));
            let wait = write.wait_header();
            let headers = [("prefer", wait.as_str())];
            target::call(&client, Method::DELETE, &path, &headers, None).await?;
            say(format_args!("{switch} gets the built-in pipeline"));
        }
    }
    Ok(())
}

fn path(switch: &str) -> String {
    format!("/v1/switches/{}/pipeline", path_segment(switch))
}

/// What declares the pipeline of a file: the program itself, and the P4Info that is generated from it.
fn request(file: &str) -> Result<Value, Failure> {
    let given = target::body(&format!("@{file}"))?;
    let wrong = |message: String| Failure::laid_out(DATA, format!("error: {file}: {message}"));
    let pipeline: ir::Pipeline =
        serde_json::from_slice(&given).map_err(|error| wrong(error.to_string()))?;
    let device_config =
        serde_json::to_value(&pipeline).map_err(|error| wrong(error.to_string()))?;
    let program = Program::new(pipeline).map_err(|mistakes| {
        let lines: Vec<String> = mistakes
            .iter()
            .map(|mistake| format!("\n  {mistake}"))
            .collect();
        wrong(format!("the pipeline has mistakes{}", lines.concat()))
    })?;
    Ok(json!({
        "p4info": BASE64_STANDARD.encode(program.p4info().encode_to_vec()),
        "deviceConfig": device_config,
    }))
}

fn show(global: &Global, pipeline: &Value) {
    if global.output == Format::Json {
        print_json(pipeline);
        return;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let origin = if pipeline["declared"] == true {
        "declared"
    } else {
        "built in"
    };
    print(&format!(
        "{} {}: {origin}, {}\n",
        text(&pipeline["name"]),
        text(&pipeline["version"]),
        text(&pipeline["status"]["phase"]),
    ));
    let tables = pipeline["tables"].as_array().into_iter().flatten();
    let rows = tables.map(|table| {
        let fields = table["fields"].as_array().into_iter().flatten();
        let fields = fields.map(|field| {
            let (name, kind) = (text(&field["name"]), text(&field["match"]));
            format!("{name}:{kind}")
        });
        let actions = table["actions"].as_array().into_iter().flatten();
        [
            text(&table["name"]),
            table["size"].to_string(),
            fields.collect::<Vec<_>>().join(" "),
            actions.map(text).collect::<Vec<_>>().join(" "),
        ]
    });
    let header = ["TABLE", "SIZE", "FIELDS", "ACTIONS"];
    print_table(header, rows.collect());
}

impl FlowWrite {
    /// The `Prefer` header.
    pub(crate) fn wait_header(&self) -> String {
        format!("wait={}", self.wait)
    }

    /// The query of a write.
    pub(crate) fn query(&self, dry_run: bool) -> String {
        let flags = [(dry_run, "dryRun=true"), (self.force, "force=true")];
        let flags = flags.iter().filter(|(is_set, _)| *is_set);
        let flags: Vec<&str> = flags.map(|(_, flag)| *flag).collect();
        if flags.is_empty() {
            String::new()
        } else {
            format!("?{}", flags.join("&"))
        }
    }
}
