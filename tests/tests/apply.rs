//! `weft apply`: what a file declares, at the start and later.

use std::path::PathBuf;

use weft_tests::{Lab, can_build_labs, text, weft};

const TOPOLOGY: &str = "topology:
  nodes:
    s1: { kind: switch }
    alice: { kind: host, ip: 10.0.0.1/24 }
    bob: { kind: host, ip: 10.0.0.2/24 }
  links:
    - endpoints: ['alice:eth0', 's1:p1']
    - endpoints: ['bob:eth0', 's1:p2']
";

const BLOCKED: &str = "flowsets:
  guard:
    flows:
      - { switch: s1, name: no-echo, priority: 10, match: { icmpv4_type: 8 }, actions: [drop] }
";

fn file(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("guarded.yaml");
    std::fs::write(&path, text).expect("the folder of the test can be written");
    path
}

fn pings(lab: &Lab) -> bool {
    let ping = lab.exec("alice", ["ping", "-c1", "-W1", "10.0.0.2"]);
    ping.status.success()
}

#[test]
fn a_lab_holds_what_its_file_says_and_nothing_that_it_said_before() {
    if !can_build_labs("a_lab_holds_what_its_file_says") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, &format!("{TOPOLOGY}{BLOCKED}"));
    let lab = Lab::up(&path, "apply");
    let path = path.to_str().unwrap();
    // What the file declares holds when the lab is ready.
    assert!(!pings(&lab));
    let flow = lab.get("/v1/switches/s1/flows/no-echo");
    assert_eq!(
        (&flow["owner"], &flow["flowSet"]),
        (&"file".into(), &"guard".into()),
        "{flow:#}"
    );
    let again = lab.weft("apply", [path]);
    assert!(again.status.success(), "{}", text(&again));
    assert_eq!(
        String::from_utf8_lossy(&again.stdout),
        "0 added, 0 changed, 0 removed, 2 unchanged\n"
    );

    // Another's flow is not the file's to take back.
    let flow = r#"{ "match": { "icmpv4_type": 13 }, "actions": ["drop"] }"#;
    let put = lab.weft("flow", ["put", "s1", "mine", flow]);
    assert!(put.status.success(), "{}", text(&put));
    file(&folder, TOPOLOGY);
    let expected = "- flows s1/no-echo\n- flowsets guard\n";
    let dry = lab.weft("apply", [path, "--dry-run"]);
    assert!(dry.status.success(), "{}", text(&dry));
    let told = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(told.starts_with(expected), "{told}");
    assert!(!pings(&lab));
    let kept = lab.weft("apply", [path, "--no-prune"]);
    assert!(kept.status.success(), "{}", text(&kept));
    assert!(!pings(&lab));
    let pruned = lab.weft("apply", [path]);
    assert!(pruned.status.success(), "{}", text(&pruned));
    assert!(
        String::from_utf8_lossy(&pruned.stdout).starts_with(expected),
        "{}",
        text(&pruned)
    );
    assert!(pings(&lab));
    assert_eq!(lab.get("/v1/switches/s1/flows/mine")["owner"], "admin");

    // A mistake is told with its line, a change of the topology with its name; nothing happens.
    file(
        &folder,
        &format!("{TOPOLOGY}{}", BLOCKED.replace("icmpv4_type", "icmp_type")),
    );
    let wrong = lab.weft("apply", [path]);
    assert_eq!(wrong.status.code(), Some(65), "{}", text(&wrong));
    assert!(
        text(&wrong).contains("guarded.yaml:12:"),
        "{}",
        text(&wrong)
    );
    assert!(text(&wrong).contains("icmpv4_type"), "{}", text(&wrong));
    let larger = TOPOLOGY.replace(
        "    bob:",
        "    carol: { kind: host, ip: 10.0.0.3/24 }\n    bob:",
    );
    file(&folder, &format!("{larger}{BLOCKED}"));
    let refused = lab.weft("apply", [path]);
    assert_eq!(refused.status.code(), Some(65), "{}", text(&refused));
    assert!(
        text(&refused).contains("host carol is new"),
        "{}",
        text(&refused)
    );
    assert!(pings(&lab));
}

#[test]
fn a_file_whose_resources_cannot_be_builds_nothing() {
    if !can_build_labs("a_file_whose_resources") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        &folder,
        &format!("{TOPOLOGY}{}", BLOCKED.replace("switch: s1", "switch: s7")),
    );
    let up = weft([
        "up",
        path.to_str().unwrap(),
        "--detach",
        "--name",
        "apply-wrong",
    ]);
    assert_eq!(up.status.code(), Some(65), "{}", text(&up));
    assert!(text(&up).contains("guarded.yaml:12:"), "{}", text(&up));
    let labs = weft(["labs"]);
    assert!(!text(&labs).contains("apply-wrong"), "{}", text(&labs));
}
