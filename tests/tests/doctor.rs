//! `weft doctor` says what works, and what helps where it does not.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

use serde_json::Value;
use weft_tests::{can_build_labs, json, text, weft, weft_binary};

fn finding<'a>(report: &'a Value, name: &str) -> &'a Value {
    let items = report["items"].as_array().unwrap();
    items.iter().find(|item| item["name"] == name).unwrap()
}

#[test]
fn where_labs_run_everything_works() {
    if !can_build_labs("where_labs_run_everything_works") {
        return;
    }
    let report = json(&weft(["doctor", "-o", "json"]));
    assert_eq!(report["works"], true, "{report:#}");
    for item in report["items"].as_array().unwrap() {
        assert_eq!(item["works"], true, "{item}");
        assert_eq!(item["fix"], Value::Null, "{item}");
    }
    let told = weft(["doctor"]);
    assert!(text(&told).contains("labs run here"), "{}", text(&told));
}

#[test]
fn a_missing_device_is_named_with_what_helps() {
    if !can_build_labs("a_missing_device_is_named") {
        return;
    }
    // In a mount namespace of its own, /dev/net is empty.
    let without = |args: &str| {
        Command::new("unshare")
            .args(["--mount", "sh", "-c"])
            .arg(format!(
                "mount -t tmpfs none /dev/net && exec \"$0\" doctor {args}"
            ))
            .arg(weft_binary())
            .output()
            .unwrap()
    };
    let told = without("-o json");
    assert!(told.status.success(), "{}", text(&told));
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(report["works"], true, "veth pairs serve instead");
    for name in ["tun-device", "tap", "tun"] {
        let finding = finding(&report, name);
        assert_eq!(finding["works"], false, "{finding}");
        assert!(finding["fix"].as_str().unwrap().contains("modprobe tun"));
    }
    for name in ["pid-namespaces", "packet-socket"] {
        assert_eq!(finding(&report, name)["works"], true);
    }
    let told = without("");
    assert!(told.status.success(), "{}", text(&told));
    assert!(text(&told).contains("tun-device: sudo modprobe tun"));
    assert!(text(&told).contains("labs run here, but not with every kind of port"));
}
