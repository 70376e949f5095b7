//! `weft path`: paths between two nodes.

use hyper::Method;
use serde_json::{Map, Value, json};

use crate::args::{Format, Global, Path};
use crate::failure::Failure;
use crate::output::{print_json, print_table, say};
use crate::target;

pub(crate) async fn run(global: &Global, args: &Path) -> Result<(), Failure> {
    let client = target::api(global)?;
    let body = request(args).to_string().into();
    let answer = target::call(&client, Method::POST, "/v1/paths", &[], Some(body)).await?;
    let found = answer.json();
    if global.output == Format::Json {
        print_json(&found);
        return Ok(());
    }
    let paths = found["paths"].as_array().map_or(&[][..], Vec::as_slice);
    if paths.is_empty() {
        let cause = &found["blockedBy"];
        say(if cause.is_null() {
            format!("no path from {} to {}", args.from, args.to)
        } else {
            format!(
                "no path from {} to {}: blocked by {cause}",
                args.from, args.to
            )
        });
        return Ok(());
    }
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let rows = paths
        .iter()
        .map(|path| {
            let nodes: Vec<String> = path["nodes"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text)
                .collect();
            [
                nodes.join(" > "),
                text(&path["cost"]),
                text(&path["latency"]),
                text(&path["bandwidth"]),
            ]
        })
        .collect();
    print_table(["PATH", "COST", "LATENCY", "BANDWIDTH"], rows);
    Ok(())
}

fn request(args: &Path) -> Value {
    let select = match args {
        Path { k: Some(k), .. } => json!({ "kind": "k", "k": k }),
        Path { disjoint: true, .. } => match &args.level {
            Some(level) => json!({ "kind": "disjoint", "k": 2, "level": level }),
            None => json!({ "kind": "disjoint", "k": 2 }),
        },
        Path { ecmp: true, .. } => json!({ "kind": "ecmp" }),
        Path { .. } => json!({ "kind": "shortest" }),
    };
    let mut constraints = Map::new();
    if let Some(latency) = &args.max_latency {
        constraints.insert("maxLatency".to_owned(), json!(latency));
    }
    if let Some(bandwidth) = &args.min_bandwidth {
        constraints.insert("minBandwidth".to_owned(), json!(bandwidth));
    }
    if !args.avoid.is_empty() {
        constraints.insert("avoid".to_owned(), json!(args.avoid));
    }
    if !args.via.is_empty() {
        constraints.insert("via".to_owned(), json!(args.via));
    }
    let mut request = json!({ "from": args.from, "to": args.to, "select": select });
    if !constraints.is_empty() {
        request["constraints"] = Value::Object(constraints);
    }
    request
}
