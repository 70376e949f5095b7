//! `weft trace`: what becomes of a packet, hop by hop.

use hyper::Method;
use serde_json::{Map, Value, json};

use crate::args::{Format, Global, Trace};
use crate::failure::Failure;
use crate::output::{print, print_json, print_table};
use crate::target;

pub(crate) async fn run(global: &Global, args: &Trace) -> Result<(), Failure> {
    let client = target::api(global)?;
    let body = request(args).to_string().into();
    let answer = target::call(&client, Method::POST, "/v1/traces", &[], Some(body)).await?;
    let found = answer.json();
    if global.output == Format::Json {
        print_json(&found);
        return Ok(());
    }
    let mut rows = Vec::new();
    for hop in list(&found["hops"]) {
        let start = rows.len();
        let tables = list(&hop["tables"]);
        rows.extend(tables.iter().filter_map(row));
        if rows.len() == start {
            rows.push(Default::default());
        }
        // A hop's name and ports stand on its first line and on its last.
        let [hop_cell, ..] = &mut rows[start];
        *hop_cell = format!("{} > {}", text(&hop["inPort"]), text(&hop["switch"]));
        if let Some(port) = hop["outPort"].as_str() {
            let out = [
                format!("  > {port}"),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
            ];
            rows.push(out);
        }
    }
    if !rows.is_empty() {
        print_table(["HOP", "TABLE", "ENTRY", "ACTION", "REWRITE"], rows);
    }
    print(&format!("{}\n", verdict(&found)));
    Ok(())
}

/// A line for each lookup that did something; misses that change nothing are for JSON.
fn row(table: &Value) -> Option<[String; 5]> {
    let says = !table["entry"].is_null() || !table["rewrite"].is_null() || !table["drop"].is_null();
    if !says {
        return None;
    }
    let action = &table["action"];
    let params = pairs(&action["params"], "=");
    let mut action = match params.is_empty() {
        true => text(&action["name"]),
        false => format!("{}({params})", text(&action["name"])),
    };
    action.push_str(&choice(&table["choice"]));
    if let Some(reason) = table["drop"].as_str() {
        action = format!("{action} DROP {reason}").trim_start().to_owned();
    }
    let entry = &table["entry"];
    let matched = match (entry.is_null(), table["table"].is_null()) {
        (true, true) => String::new(),
        (true, false) => "no match".to_owned(),
        _ => pairs(&entry["match"], "="),
    };
    let cause = cause(&entry["cause"]);
    let entry = match (matched.is_empty(), cause.is_empty()) {
        (_, true) => matched,
        (true, false) => format!("any ({cause})"),
        (false, false) => format!("{matched} ({cause})"),
    };
    let rewrite = rewrites(&table["rewrite"]);
    Some([String::new(), text(&table["table"]), entry, action, rewrite])
}

/// Most characters of a rewrite in the table; JSON has it in full.
const REWRITE: usize = 48;

/// `-vlan +mpls[0] ipv4.ttl: 64>63`: headers that come and go by their names, then fields, as far as there is room.
fn rewrites(changes: &Value) -> String {
    let changes = changes.as_object().into_iter().flatten();
    let mut headers: Vec<String> = Vec::new();
    let mut fields = Vec::new();
    for (field, change) in changes {
        let header = field
            .rsplit_once('.')
            .map_or(field.as_str(), |(header, _)| header);
        let header = match (&change["from"], &change["to"]) {
            (Value::Null, _) => format!("+{header}"),
            (_, Value::Null) => format!("-{header}"),
            (from, to) => {
                fields.push(format!("{field}: {}>{}", text(from), text(to)));
                continue;
            }
        };
        if !headers.contains(&header) {
            headers.push(header);
        }
    }
    let all: Vec<String> = headers.into_iter().chain(fields).collect();
    let mut shown = String::new();
    for (index, part) in all.iter().enumerate() {
        if index > 0 && shown.len() + part.len() > REWRITE {
            return format!("{shown} … {} more", all.len() - index);
        }
        if index > 0 {
            shown.push(' ');
        }
        shown.push_str(part);
    }
    shown
}

/// Which of several members it was, and which ones could not be: ` [2 of 3, p1 down]`.
fn choice(choice: &Value) -> String {
    let members = list(&choice["members"]);
    if members.len() < 2 {
        return String::new();
    }
    let is = |member: &Value, state: &str| member["state"].as_str() == Some(state);
    let chosen = members.iter().position(|member| is(member, "chosen"));
    let chosen = chosen.map_or_else(|| "none".to_owned(), |index| (index + 1).to_string());
    let down: Vec<String> = (members.iter())
        .filter(|member| is(member, "down"))
        .map(|member| format!(", {} down", text(&member["watchPort"])))
        .collect();
    format!(" [{chosen} of {}{}]", members.len(), down.concat())
}

fn verdict(found: &Value) -> String {
    let at = &found["at"];
    let place: Vec<String> = ["host", "switch", "port", "table"]
        .iter()
        .filter_map(|key| Some(format!("{key} {}", at[key].as_str()?)))
        .collect();
    let word = match found["verdict"].as_str() {
        Some("toController") => "to the controller",
        Some("notSeen") => return format!("no such packet came from {}", text(&at["host"])),
        Some(word) => word,
        None => "unknown",
    };
    let mut line = format!("{word} at {}", place.join(", "));
    if let Some(reason) = found["reason"].as_str() {
        line.push_str(&format!(": {reason}"));
    }
    let cause = cause(&found["cause"]);
    if !cause.is_empty() {
        line.push_str(&format!(", by {cause}"));
    }
    let others = pairs(&found["copies"], ": ");
    if !others.is_empty() {
        line.push_str(&format!("\nother copies: {others}"));
    }
    if found["diverged"] == true {
        line.push_str("\nthis is not the way that the switches' state foretells for such a packet");
    }
    line
}

/// `flow no-web of admin`, `route to host h8, lab.yaml:14`.
fn cause(cause: &Value) -> String {
    let name = text(&cause["name"]);
    let detail = text(&cause["detail"]);
    let mut said = match (cause["kind"].as_str(), detail.is_empty()) {
        (None, _) => return String::new(),
        (Some("noMatch"), true) => format!("no match in {name}"),
        (Some("noMatch"), false) => format!("no match in {name} {detail}"),
        (Some(kind), true) => format!("{kind} {name}"),
        (Some(_), false) => detail,
    };
    if let Some(owner) = cause["owner"].as_str() {
        said.push_str(&format!(" of {owner}"));
    }
    if let Some(file) = cause["file"].as_str() {
        said.push_str(&format!(", {file}:{}", text(&cause["line"])));
    }
    said
}

fn pairs(object: &Value, between: &str) -> String {
    let members = object.as_object().into_iter().flatten();
    let members: Vec<String> = members
        .map(|(key, value)| format!("{key}{between}{}", text(value)))
        .collect();
    members.join(" ")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn request(args: &Trace) -> Value {
    let mut packet = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            packet.insert(name.to_owned(), value);
        }
    };
    let udp = args
        .proto
        .as_deref()
        .is_some_and(|proto| proto.eq_ignore_ascii_case("udp"));
    let family = if udp { "udp" } else { "tcp" };
    put("ip_proto", json!(args.proto));
    put(&format!("{family}_src"), json!(args.sport));
    put(&format!("{family}_dst"), json!(args.dport));
    put("ip_ttl", json!(args.ttl));
    put("ip_dscp", json!(args.dscp));
    put("length", json!(args.length));
    put("eth_dst", json!(args.eth_dst));
    let mut question = json!({ "from": args.from, "to": args.to, "packet": packet });
    if args.live {
        question["mode"] = json!("live");
    }
    if let Some(within) = &args.within {
        question["within"] = json!(within);
    }
    question
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_rewrites_are_cut_and_headers_named_once() {
        assert_eq!(rewrites(&Value::Null), "");
        let few = json!({ "ipv4.ttl": { "from": 64, "to": 63 } });
        assert_eq!(rewrites(&few), "ipv4.ttl: 64>63");
        let pushed = json!({
            "eth.dst": { "from": "02:00:00:00:00:01", "to": "02:00:00:00:00:02" },
            "eth.src": { "from": "02:00:00:00:00:03", "to": "02:00:00:00:00:04" },
            "mpls[0].label": { "to": 17 },
            "mpls[0].ttl": { "to": 64 },
            "vlan.vid": { "from": 5 },
        });
        assert_eq!(rewrites(&pushed), "+mpls[0] -vlan … 2 more");
    }

    #[test]
    fn causes_are_said_with_their_place() {
        let flow = json!({ "kind": "flow", "name": "no-web", "owner": "admin" });
        assert_eq!(cause(&flow), "flow no-web of admin");
        let host = json!({
            "kind": "node", "name": "h8", "detail": "route to host h8", "file": "lab.yaml", "line": 14,
        });
        assert_eq!(cause(&host), "route to host h8, lab.yaml:14");
        let link = json!({ "kind": "link", "name": "last", "file": "lab.yaml", "line": 3 });
        assert_eq!(cause(&link), "link last, lab.yaml:3");
        assert_eq!(cause(&Value::Null), "");
    }
}
