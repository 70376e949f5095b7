//! `weft flow`: flows of switches.

use hyper::Method;
use serde_json::Value;
use weft_lab::client::path_segment;

use crate::args::{Flow, Format, Global};
use crate::failure::Failure;
use crate::output::{print_json, print_table, say};
use crate::target;

pub(crate) async fn run(global: &Global, command: &Flow) -> Result<(), Failure> {
    let client = target::api(global)?;
    match command {
        Flow::List { switch } => {
            let path = match switch {
                Some(switch) => format!("/v1/switches/{}/flows", path_segment(switch)),
                None => "/v1/flows".to_owned(),
            };
            let found = target::list(&client, &path).await?;
            match global.output {
                Format::Json => print_json(&found),
                Format::Table => print_flows(found["items"].as_array().map_or(&[], Vec::as_slice)),
            }
        }
        Flow::Get { switch, name } => {
            let path = flow_path(switch, name);
            let answer = target::call(&client, Method::GET, &path, &[], None).await?;
            show(global, &answer.json());
        }
        Flow::Put(put) => {
            let mut path = flow_path(&put.switch, &put.name);
            path.push_str(&put.write.query(put.dry_run));
            let body = target::body(&put.flow)?;
            let wait = put.write.wait_header();
            let headers = [("prefer", wait.as_str())];
            let answer = target::call(&client, Method::PUT, &path, &headers, Some(body)).await?;
            show(global, &answer.json());
        }
        Flow::Delete(delete) => {
            let mut path = flow_path(&delete.switch, &delete.name);
            path.push_str(&delete.write.query(false));
            let wait = delete.write.wait_header();
            let headers = [("prefer", wait.as_str())];
            target::call(&client, Method::DELETE, &path, &headers, None).await?;
            say(format_args!("deleted {} of {}", delete.name, delete.switch));
        }
    }
    Ok(())
}

fn flow_path(switch: &str, name: &str) -> String {
    format!(
        "/v1/switches/{}/flows/{}",
        path_segment(switch),
        path_segment(name)
    )
}

fn show(global: &Global, flow: &Value) {
    match global.output {
        Format::Json => print_json(flow),
        Format::Table => print_flows(std::slice::from_ref(flow)),
    }
}

fn print_flows(flows: &[Value]) {
    let rows = flows
        .iter()
        .map(|flow| {
            [
                plain(&flow["switch"]),
                plain(&flow["name"]),
                plain(&flow["priority"]),
                matches(&flow["match"]),
                actions(&flow["actions"]),
                plain(&flow["status"]["phase"]),
            ]
        })
        .collect();
    let header = ["SWITCH", "NAME", "PRIORITY", "MATCH", "ACTIONS", "PHASE"];
    print_table(header, rows);
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn matches(value: &Value) -> String {
    let fields: Vec<String> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(field, value)| format!("{field}={}", plain(value)))
        .collect();
    if fields.is_empty() {
        "any".to_owned()
    } else {
        fields.join(",")
    }
}

fn actions(value: &Value) -> String {
    let actions: Vec<String> = value
        .as_array()
        .into_iter()
        .flatten()
        .map(|action| match action {
            Value::Object(object) => object
                .iter()
                .map(|(name, value)| match value {
                    Value::Object(_) => format!("{name}({})", matches(value)),
                    _ => format!("{name}:{}", plain(value)),
                })
                .collect::<Vec<_>>()
                .join(","),
            other => plain(other),
        })
        .collect();
    actions.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flows_are_shown_in_one_line() {
        assert_eq!(matches(&json!({})), "any");
        assert_eq!(
            matches(&json!({ "in_port": "p1", "tcp_dst": 443 })),
            "in_port=p1,tcp_dst=443"
        );
        let list = json!([{ "set": { "ip_dscp": 18 } }, { "output": "p1" }, "drop"]);
        assert_eq!(actions(&list), "set(ip_dscp=18),output:p1,drop");
    }
}
