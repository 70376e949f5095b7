//! Kernel devices, in network namespaces of their own. Needs root; says so and passes where that is missing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use nix::sched::{CloneFlags, unshare};
use rtnetlink::LinkUnspec;
use weft_proto::vocab::MacAddr;
use weft_switch::port::{TuntapConfig, TuntapPort, tuntap};
use weft_switch::ports::Medium;

use crate::client::{A_WHILE, Lab, SOON, at, forward, frame, insert, switches};

const PAYLOAD: usize = 16 << 20;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("NOT RUN: this test needs root for network namespaces");
    }
    root
}

/// A thread in a namespace of its own: makes its device, tells it, waits for the start, then works.
fn host<T: Send + 'static>(
    address: Ipv4Addr,
    offloads: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> (TuntapPort, mpsc::Sender<()>, JoinHandle<T>) {
    let (ready, device) = mpsc::channel();
    let (go, start) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let [_, _, _, last] = address.octets();
        let config = TuntapConfig {
            name: "eth0".into(),
            medium: Medium::L2,
            mac: MacAddr([2, 0, 0, 0, 9, last]),
            mtu: 1500,
            offloads,
            up: false,
        };
        let port = tuntap::create(&config).unwrap();
        configure(address);
        ready.send(port).unwrap();
        start.recv().unwrap();
        work()
    });
    (device.recv().unwrap(), go, thread)
}

fn configure(address: Ipv4Addr) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (connection, netlink, _) = rtnetlink::new_connection().unwrap();
        let connection = tokio::spawn(connection);
        let mut links = netlink.link().get().match_name("eth0").execute();
        let link = links.try_next().await.unwrap().unwrap();
        let index = link.header.index;
        netlink
            .address()
            .add(index, IpAddr::V4(address), 24)
            .execute()
            .await
            .unwrap();
        let up = LinkUnspec::new_with_index(index).up().build();
        netlink.link().set(up).execute().await.unwrap();
        connection.abort();
    });
}

fn data() -> impl Iterator<Item = u8> {
    (0u32..).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
}

/// TCP packets that the calling thread's namespace refused because of their checksum.
fn checksum_errors() -> u64 {
    let snmp = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let (_, value) = pairs.find(|(name, _)| *name == "InCsumErrors").unwrap();
    value.parse().unwrap()
}

fn serve() -> (Vec<u8>, u64) {
    let listener = TcpListener::bind((SERVER, 7)).unwrap();
    let (mut connection, _) = listener.accept().unwrap();
    let mut received = Vec::new();
    connection.read_to_end(&mut received).unwrap();
    (received, checksum_errors())
}

fn send() -> u64 {
    let server = SocketAddr::from((SERVER, 7));
    let mut connection = loop {
        // The server may not listen yet: then it refuses at once.
        match TcpStream::connect_timeout(&server, SOON) {
            Ok(connection) => break connection,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(error) => panic!("{error}"),
        }
    };
    connection.set_write_timeout(Some(SOON)).unwrap();
    connection.set_read_timeout(Some(SOON)).unwrap();
    let data: Vec<u8> = data().take(PAYLOAD).collect();
    connection.write_all(&data).unwrap();
    connection.shutdown(std::net::Shutdown::Write).unwrap();
    let mut end = [0];
    assert_eq!(connection.read(&mut end).unwrap(), 0);
    checksum_errors()
}

/// Sends data over TCP from a device with offloads to one with or without; returns frames read and frames written.
async fn transfer(offloads_at_server: bool) -> (u64, u64) {
    let mut config = switches(1, 2);
    config.workers = 2;
    let lab = Lab::start(config).await;
    let (client, client_go, client_thread) = host(CLIENT, true, send);
    let (server, server_go, server_thread) = host(SERVER, offloads_at_server, serve);
    lab.host.attach_device(at(1, 1), client).unwrap();
    lab.host.attach_device(at(1, 2), server).unwrap();
    let _primary = lab.own(1).await;
    let entries = [
        insert(forward(1, "send", &[2])),
        insert(forward(2, "send", &[1])),
    ];
    lab.write(1, &entries).await.unwrap();
    server_go.send(()).unwrap();
    client_go.send(()).unwrap();
    // The client first: it gives up after a while, a server waits for its client for ever.
    let client_errors = tokio::task::spawn_blocking(|| client_thread.join().unwrap())
        .await
        .unwrap();
    let (received, server_errors) = server_thread.join().unwrap();
    assert!(received.into_iter().eq(data().take(PAYLOAD)));
    assert_eq!((server_errors, client_errors), (0, 0));
    let rx = lab.host.counters(at(1, 1)).unwrap().rx();
    let tx = lab.host.counters(at(1, 2)).unwrap().tx();
    assert!(rx.packets > u64::try_from(PAYLOAD).unwrap() / 1500);
    assert!(tx.packets > u64::try_from(PAYLOAD).unwrap() / 1500);
    (rx.frames, tx.frames)
}

#[tokio::test]
async fn super_packets_cross_the_switch_whole() {
    if !is_root() {
        return;
    }
    let (read, written) = transfer(true).await;
    let wire_segments = u64::try_from(PAYLOAD).unwrap() / 1448;
    assert!(read < wire_segments / 2, "{read} frames were read");
    assert!(written < wire_segments / 2, "{written} frames were written");
}

#[tokio::test]
async fn a_device_without_offloads_gets_whole_frames_with_right_checksums() {
    if !is_root() {
        return;
    }
    let (read, written) = transfer(false).await;
    let wire_segments = u64::try_from(PAYLOAD).unwrap() / 1448;
    assert!(read < wire_segments / 2, "{read} frames were read");
    assert!(written >= wire_segments, "{written} frames were written");
}

#[tokio::test]
async fn a_device_that_vanishes_harms_no_other_port() {
    if !is_root() {
        return;
    }
    let lab = Lab::start(switches(1, 3)).await;
    let (device, go, thread) = host(CLIENT, true, || {});
    lab.host.attach_device(at(1, 3), device).unwrap();
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let _primary = lab.own(1).await;
    let entries = [
        insert(forward(1, "send", &[2])),
        insert(forward(2, "send", &[3])),
        insert(forward(3, "refuse", &[])),
    ];
    lab.write(1, &entries).await.unwrap();
    go.send(()).unwrap();
    // The namespace goes with its last thread, and the device with the namespace.
    thread.join().unwrap();
    let counters = lab.host.counters(at(1, 2)).unwrap();
    for _ in 0..200 {
        two.send(&frame(0x0800, &[0; 46]));
        one.send(&frame(0x0800, b"alive"));
        assert_eq!(two.receive(SOON), Some(frame(0x0800, b"alive")));
    }
    // Two ports are two queues: the last frame of one may be taken before that of the other.
    let deadline = tokio::time::Instant::now() + SOON;
    while counters.rx().frames < 200 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{:?}",
            counters.rx()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(counters.rx().frames, 200);
    lab.host.detach(at(1, 3)).unwrap();
    assert_eq!(two.receive(A_WHILE), None);
}

#[test]
fn a_name_that_is_too_long_is_an_error() {
    if !is_root() {
        return;
    }
    let config = TuntapConfig {
        name: "a-name-beyond-the-limit".into(),
        medium: Medium::L2,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        offloads: true,
        up: false,
    };
    let error = tuntap::create(&config).unwrap_err();
    assert!(error.to_string().contains("a-name-beyond-the-limit"));
}
