//! Pipelines that share nothing with the built-in one, on the switches of running labs: written here in the
//! representation, pushed by the command line, programmed by raw entries.

mod l2;
mod tunnel;

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use weft_tests::{Lab, json as parsed, text, wait_for};

/// `weft pipeline set SWITCH FILE`.
fn set_pipeline(lab: &Lab, dir: &Path, switch: &str, pipeline: &Value) -> Output {
    let file = dir.join(format!("{switch}.json"));
    std::fs::write(&file, pipeline.to_string()).expect("the file can be written");
    let file = file.to_str().expect("a path of text");
    lab.weft("pipeline", ["set", switch, file, "-o", "json"])
}

/// Declares a raw entry and waits until the switch has it.
fn put_entry(lab: &Lab, switch: &str, table: &str, name: &str, entry: &Value) {
    let path = format!("/v1/switches/{switch}/tables/{table}/entries/{name}");
    let body = entry.to_string();
    let args = ["-X", "PUT", "-H", "Prefer: wait=5", &path, "-d", &body];
    let stored = parsed(&lab.weft("api", args));
    assert_eq!(stored["status"]["phase"], "realized", "{stored:#}");
}

/// An entry of an exact table.
fn entry(matches: Value, action: &str, params: Value) -> Value {
    json!({ "match": matches, "action": { "name": action, "params": params } })
}

fn pings(lab: &Lab, from: &str, to: &str) -> bool {
    let ping = ["ping", "-c1", "-W1", to];
    lab.exec(from, ping).status.success()
}

/// Sends `bytes` bytes by TCP between two hosts; true when they arrive as they were sent.
fn transfers(lab: &Lab, from: &str, to: &str, address: &str, bytes: usize) -> bool {
    const SERVER: &str = "import socket,sys,hashlib
listener = socket.create_server(('', 9000))
print('ready', flush=True)
peer, _ = listener.accept()
digest = hashlib.sha256()
while data := peer.recv(1 << 16):
    digest.update(data)
print(digest.hexdigest())";
    const CLIENT: &str = "import socket,sys,hashlib
data = bytes(i * 7 % 251 for i in range(int(sys.argv[2])))
peer = socket.create_connection((sys.argv[1], 9000), timeout=10)
peer.sendall(data)
peer.close()
print(hashlib.sha256(data).hexdigest())";
    let mut server = lab.spawn(to, ["python3", "-c", SERVER]);
    let mut said = server.stdout.take().expect("it is piped");
    let mut ready = [0; 6];
    std::io::Read::read_exact(&mut said, &mut ready).expect("the server listens");
    let sent = lab.exec(from, ["python3", "-c", CLIENT, address, &bytes.to_string()]);
    if !sent.status.success() {
        // Nobody connected: nobody would end it.
        let _ = server.kill();
    }
    let mut received = String::new();
    std::io::Read::read_to_string(&mut said, &mut received).expect("the server says what came");
    let _ = server.wait();
    sent.status.success() && received.trim() == String::from_utf8_lossy(&sent.stdout).trim()
}

/// The pipeline as `weft pipeline show` tells of it.
fn shown(lab: &Lab, switch: &str) -> Value {
    parsed(&lab.weft("pipeline", ["show", switch, "-o", "json"]))
}

/// Kills the controller, and waits until another one has taken over.
fn restart_controller(lab: &Lab) {
    let old = lab.pid("controller");
    let pid = old.to_string();
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid])
        .status();
    assert!(killed.is_ok_and(|status| status.success()));
    wait_for(
        "the controller is back",
        std::time::Duration::from_secs(20),
        || {
            let status = lab.weft("status", ["-o", "json"]);
            let Ok(status) = serde_json::from_slice::<Value>(&status.stdout) else {
                return false;
            };
            let processes = status["processes"].as_array();
            let is_new = processes
                .into_iter()
                .flatten()
                .any(|one| one["role"] == "controller" && one["pid"] != old);
            let switches = status["switches"].as_array();
            is_new && switches.is_some_and(|all| all.iter().all(|one| one["connected"] == true))
        },
    );
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", text(output));
}
