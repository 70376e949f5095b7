//! Printing: results go to standard output, everything else to standard error.

use std::io::{self, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;

/// Writes to standard output. Nobody reading any more is not an error of the command.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Writes bytes to standard output as they are.
pub(crate) fn print_bytes(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// Writes a line to standard error.
pub(crate) fn say(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a value as JSON.
pub(crate) fn print_json(value: &impl Serialize) {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    print(&text);
}

/// Prints rows under a header.
pub(crate) fn print_table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) {
    print_rows(&header.map(str::to_owned), rows.into_iter().map(Vec::from));
}

fn print_rows(header: &[String], rows: impl Iterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for line in table.lines() {
        let line = line.trim_end();
        print(&format!("{}\n", line.strip_prefix(' ').unwrap_or(line)));
    }
}

/// Prints objects of the API as a table: the name first, then whatever is short enough for a column.
pub(crate) fn print_objects(items: &[Value]) {
    let mut columns: Vec<String> = Vec::new();
    for item in items {
        for (key, value) in item.as_object().into_iter().flatten() {
            if cell(value).is_some() && !columns.contains(key) {
                columns.push(key.clone());
            }
        }
    }
    columns.sort_by_key(|column| match column.as_str() {
        "name" => 0,
        "switch" => 1,
        "status" => 3,
        _ => 2,
    });
    let header: Vec<String> = columns.iter().map(|column| heading(column)).collect();
    let rows = items.iter().map(|item| {
        columns
            .iter()
            .map(|column| cell(&item[column]).unwrap_or_default())
            .collect()
    });
    print_rows(&header, rows);
}

/// `deviceId` as `DEVICE ID`.
fn heading(key: &str) -> String {
    let mut heading = String::with_capacity(key.len() + 2);
    for letter in key.chars() {
        if letter.is_uppercase() {
            heading.push(' ');
        }
        heading.extend(letter.to_uppercase());
    }
    heading
}

/// A value in a column's width, if it has such a form.
fn cell(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let cells: Option<Vec<String>> = items.iter().map(cell).collect();
            cells.map(|cells| cells.join(" "))
        }
        Value::Object(object) => {
            let text = |key| object.get(key).and_then(Value::as_str);
            match (text("node"), text("interface"), text("phase")) {
                (Some(node), Some(interface), _) => Some(format!("{node}:{interface}")),
                (_, _, Some(phase)) => Some(phase.to_owned()),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_cells_where_they_are_short() {
        assert_eq!(cell(&json!("x")).unwrap(), "x");
        assert_eq!(cell(&json!([1, 2])).unwrap(), "1 2");
        assert_eq!(
            cell(&json!([{ "node": "a", "interface": "eth0" }])).unwrap(),
            "a:eth0"
        );
        assert_eq!(cell(&json!({ "phase": "realized" })).unwrap(), "realized");
        assert_eq!(cell(&json!({ "a": 1 })), None);
        assert_eq!(heading("deviceId"), "DEVICE ID");
    }
}
