//! Captures are what was on the link, as another program reads them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use weft_tests::{Lab, can_build_labs, text, topology, wait_for, weft_binary};

const SOON: Duration = Duration::from_secs(20);
/// Bytes of the transfer: many super-packets.
const TRANSFER: u64 = 2_000_000;

/// Whether there is a tshark to prove it with; says so loudly when not.
#[expect(clippy::print_stdout, reason = "a skipped test has to be seen")]
fn can_read(test: &str) -> bool {
    let found = Command::new("tshark").arg("--version").output().is_ok();
    if !found {
        println!("SKIPPED {test}: needs tshark");
    }
    found && can_build_labs(test)
}

/// A capture that has begun when this returns.
fn capture(lab: &Lab, place: &str, args: &[&str], out: Stdio) -> Child {
    let mut capture = Command::new(weft_binary())
        .args(["capture", "--lab", lab.name(), place])
        .args(args)
        .stdout(out)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(capture.stderr.as_mut().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert_eq!(said.trim_end(), format!("capturing at {place}"));
    capture
}

fn interrupt(mut capture: Child) {
    let sent = Command::new("kill")
        .args(["-INT", &capture.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    assert!(capture.wait().unwrap().success());
}

/// The fields of the frames of a file that match a filter: a line for each frame, a column for each field.
fn read<const N: usize>(file: &Path, filter: &str, fields: [&str; N]) -> Vec<[String; N]> {
    let mut tshark = Command::new("tshark");
    tshark
        .args(["-n", "-r"])
        .arg(file)
        .args(["-o", "tcp.check_checksum:TRUE"])
        .args(["-o", "ip.check_checksum:TRUE"])
        .args(["-Y", filter, "-T", "fields"]);
    for field in fields {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| {
            let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
            columns.try_into().unwrap()
        })
        .collect()
}

/// What must hold of every capture: nothing malformed, nothing cut, every checksum right.
fn is_sound(file: &Path) {
    let wrong = "_ws.malformed || _ws.short || tcp.checksum.status == 0 || ip.checksum.status == 0";
    let wrong = read(file, wrong, ["frame.number", "_ws.col.Info"]);
    assert!(wrong.is_empty(), "{}: {wrong:?}", file.display());
}

fn number(text: &str) -> u64 {
    text.parse().unwrap()
}

/// Sends [`TRANSFER`] bytes from one host to another by TCP.
fn transfer(lab: &Lab, from: &str, to: &str, address: &str) {
    const SERVE: &str = "import socket,sys
s=socket.create_server(('',9000)); print('ready',flush=True); c,_=s.accept(); n=0
while True:
    b=c.recv(1<<16)
    if not b: break
    n+=len(b)
print(n)";
    let mut server = Command::new(weft_binary())
        .args(["exec", "--lab", lab.name(), to, "--"])
        .args(["python3", "-c", SERVE])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "ready");
    let send = format!(
        "import socket; s=socket.create_connection(('{address}',9000)); s.sendall(bytes({TRANSFER}))"
    );
    let sent = lab.exec(from, ["python3", "-c", &send]);
    assert!(sent.status.success(), "{}", text(&sent));
    assert_eq!(said.next().unwrap().unwrap(), TRANSFER.to_string());
    assert!(server.wait().unwrap().success());
}

#[test]
fn a_transfer_is_seen_in_segments_with_its_labels_between_switches_and_plain_at_the_host() {
    if !can_read("a_transfer_is_seen") {
        return;
    }
    let lab = Lab::up(&topology("leaf-spine"), "capture");
    let folder = tempfile::tempdir().unwrap();
    let places = ["leaf1:p1", "leaf1:p2", "h8:eth0"];
    let files = places.map(|place| folder.path().join(format!("{place}.pcapng")));
    let captures: Vec<Child> = (places.iter().zip(&files))
        .map(|(place, file)| {
            let args = ["-w", file.to_str().unwrap(), "--proto", "tcp"];
            capture(&lab, place, &args, Stdio::null())
        })
        .collect();
    transfer(&lab, "h1", "h8", "10.0.0.8");
    // The last segments may still be on their way through the streams.
    let fin = "tcp.flags.fin == 1 && tcp.dstport == 9000";
    wait_for("the captures have the end of the transfer", SOON, || {
        let ended = |file: &&Path| {
            Command::new("tshark")
                .args(["-n", "-Y", fin, "-r"])
                .arg(file)
                .output()
                .is_ok_and(|output| !output.stdout.is_empty())
        };
        let [one, other, host] = [&files[0], &files[1], &files[2]].map(|file| file.as_path());
        ended(&host) && [&one, &other].into_iter().any(ended)
    });
    captures.into_iter().for_each(interrupt);

    let data = "tcp.dstport == 9000";
    let bytes_of = |file: &Path| -> u64 {
        let lens = read(file, data, ["tcp.len"]);
        lens.iter().map(|[len]| number(len)).sum()
    };
    for (place, file) in places.iter().zip(&files) {
        is_sound(file);
        for [name, len] in read(file, "tcp", ["frame.interface_name", "frame.len"]) {
            assert_eq!(name, *place);
            // 1500 and Ethernet, and between switches labels, control word and Ethernet once more.
            assert!(number(&len) <= 1514 + 14 + 4 * 8, "{place}: {len}");
        }
    }
    let host = &files[2];
    assert!(bytes_of(host) >= TRANSFER);
    assert!(read(host, "mpls", ["frame.number"]).is_empty());
    let (trunk, other) = match bytes_of(&files[0]) {
        0 => (&files[1], &files[0]),
        _ => (&files[0], &files[1]),
    };
    assert!(bytes_of(trunk) >= TRANSFER);
    assert_eq!(bytes_of(other), 0, "one flow takes one way");
    let seen = read(trunk, data, ["mpls.label", "frame.packet_flags_direction"]);
    assert!(
        seen.iter()
            .all(|[label, way]| !label.is_empty() && number_of(way) == 2)
    );
    let seen = read(host, data, ["tcp.len", "frame.packet_flags_direction"]);
    assert!(seen.iter().all(|[_, way]| number_of(way) == 1));
    let seen = read(
        host,
        "tcp.srcport == 9000",
        ["tcp.len", "frame.packet_flags_direction"],
    );
    assert!(!seen.is_empty() && seen.iter().all(|[_, way]| number_of(way) == 2));
}

/// A number as tshark writes it, in one base or another.
fn number_of(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => number(text),
    }
}

#[test]
fn a_pipe_gets_the_frames_that_were_asked_for_and_ends_with_their_number() {
    if !can_read("a_pipe_gets_the_frames") {
        return;
    }
    let lab = Lab::up(&topology("two-hosts"), "capture-pipe");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.pcapng");
    let out = std::fs::File::create(&file).unwrap();
    let args = ["--proto", "icmp", "--host", "10.0.0.2", "--count", "4"];
    let mut asked = capture(&lab, "alice:eth0", &args, out.into());
    // Other traffic, then the one that was asked for.
    lab.exec(
        "alice",
        ["bash", "-c", "exec 3<>/dev/tcp/10.0.0.2/7000; head -c5 <&3"],
    );
    let ping = lab.exec("alice", ["ping", "-c2", "-i0.1", "10.0.0.2"]);
    assert!(ping.status.success(), "{}", text(&ping));
    wait_for("the capture ends by itself", SOON, || {
        asked.try_wait().unwrap().is_some()
    });
    assert!(asked.wait().unwrap().success());
    is_sound(&file);
    let seen = read(
        &file,
        "frame",
        ["icmp.type", "frame.packet_flags_direction"],
    );
    let seen: Vec<(u64, u64)> = seen
        .iter()
        .map(|[kind, way]| (number(kind), number_of(way)))
        .collect();
    assert_eq!(seen, [(8, 2), (0, 1), (8, 2), (0, 1)]);

    // A reader that goes away ends the capture.
    let mut unread = capture(&lab, "s1:p1", &[], Stdio::piped());
    drop(unread.stdout.take());
    lab.exec("alice", ["ping", "-c1", "10.0.0.2"]);
    wait_for("the capture ends with its reader", SOON, || {
        unread.try_wait().unwrap().is_some()
    });

    for place in ["nobody:eth0", "alice:eth9", "s1"] {
        let wrong = lab.weft("capture", [place]);
        assert_eq!(wrong.status.code(), Some(66), "{}", text(&wrong));
    }
}

#[test]
fn at_a_layer_3_port_frames_begin_with_ip() {
    if !can_read("at_a_layer_3_port_frames_begin_with_ip") {
        return;
    }
    let lab = Lab::up(&topology("tun-and-tap"), "capture-tun");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.pcapng");
    let args = ["-w", file.to_str().unwrap(), "--host", "10.0.1.1"];
    let seen = capture(&lab, "tim:eth0", &args, Stdio::null());
    transfer(&lab, "tim", "ann", "10.0.1.1");
    wait_for("the capture has the end of the transfer", SOON, || {
        let fin = "tcp.flags.fin == 1 && tcp.dstport == 9000";
        Command::new("tshark")
            .args(["-n", "-Y", fin, "-r"])
            .arg(&file)
            .output()
            .is_ok_and(|output| !output.stdout.is_empty())
    });
    interrupt(seen);
    is_sound(&file);
    let lens = read(
        &file,
        "tcp.dstport == 9000 && raw",
        ["tcp.len", "frame.len"],
    );
    let bytes: u64 = lens.iter().map(|[len, _]| number(len)).sum();
    assert!(bytes >= TRANSFER, "{bytes}");
    assert!(lens.iter().all(|[_, len]| number(len) <= 1500));
    assert!(read(&file, "eth", ["frame.number"]).is_empty());
}
