//! Bulk transfers: how much a TCP connection brings over in a bounded time.
//!
//! The sender writes what it can and throws away what comes back, so any server that reads is a sink, the responders of
//! `listen` among them. What counts is the payload that the other end has acknowledged: the kernel says how much of what
//! was written is still on its way.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::Socket;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, timeout_at};

use super::stream::{establish, tcp_socket};
use super::{Answer, Bulk, End, Seen, Try, paced};
use crate::netns::Netns;
use crate::test::cases::Pace;

/// Bytes of one write.
const CHUNK: usize = 128 << 10;

/// Sends for so long on each connection.
pub(super) async fn send(
    netns: &Netns,
    to: SocketAddr,
    pace: Pace,
    duration: Duration,
) -> io::Result<Seen> {
    let one = |socket, _| async move {
        let start = Instant::now();
        let seen = transfer(socket, to, pace.timeout, duration, netns).await;
        Try {
            took: Instant::now() - start,
            ..seen
        }
    };
    paced(netns, pace, || tcp_socket(to), one).await
}

async fn transfer(
    socket: Socket,
    to: SocketAddr,
    timeout: Duration,
    duration: Duration,
    netns: &Netns,
) -> Try {
    let start = Instant::now();
    let (stream, rtt) = match establish(socket, to, start + timeout).await {
        Ok(connected) => connected,
        Err(end) => return Try::new(end, Duration::ZERO),
    };
    let mut seen = Try::new(End::Answered, Duration::ZERO);
    seen.local = stream.local_addr().ok();
    seen.rtt = Some(rtt);
    match pour(stream, duration, netns).await {
        Ok(bulk) => seen.answer = Some(Answer::Bulk(bulk)),
        Err(error) => seen.end = End::Broken(format!("the transfer broke: {error}")),
    }
    seen
}

/// Writes until the time is over; what was acknowledged by then.
async fn pour(stream: TcpStream, duration: Duration, netns: &Netns) -> io::Result<Bulk> {
    let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
    let (reader, mut writer) = stream.into_split();
    let chunk = vec![0x5a; CHUNK];
    let start = Instant::now();
    let deadline = start + duration;
    let mut written = 0_u64;
    let write = async {
        loop {
            let len = writer.write(&chunk).await?;
            if len == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero));
            }
            written += u64::try_from(len).unwrap_or_default();
        }
    };
    let both = async {
        tokio::select! {
            biased;
            failed = write => failed,
            () = drain(reader) => Ok(()),
        }
    };
    if let Ok(ended) = timeout_at(deadline, both).await {
        ended?;
    }
    let pending = netns.run(|| unacknowledged(local, peer))??;
    Ok(Bulk {
        bytes: written.saturating_sub(pending),
        elapsed: Instant::now() - start,
    })
}

/// Reads and throws away. The other end may close its side and read on, so the end of what it says is not the end.
async fn drain(mut reader: OwnedReadHalf) {
    let mut buffer = vec![0; CHUNK];
    while reader.read(&mut buffer).await.is_ok_and(|len| len > 0) {}
    std::future::pending().await
}

/// Bytes that a connection of the calling thread's namespace has written and nobody has acknowledged yet (proc(5),
/// `/proc/net/tcp`).
fn unacknowledged(local: SocketAddr, peer: SocketAddr) -> io::Result<u64> {
    let table = match local {
        SocketAddr::V4(_) => "tcp",
        SocketAddr::V6(_) => "tcp6",
    };
    let text = fs::read_to_string(format!("/proc/thread-self/net/{table}"))?;
    find(&text, local, peer)
        .ok_or_else(|| io::Error::other("the kernel does not list the connection any more"))
}

fn find(table: &str, local: SocketAddr, peer: SocketAddr) -> Option<u64> {
    let (local, peer) = (notation(local), notation(peer));
    table.lines().find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let is_it = columns.next()? == local && columns.next()? == peer;
        let queues = columns.nth(1)?;
        let sent = queues.split(':').next()?;
        is_it.then(|| u64::from_str_radix(sent, 16).ok()).flatten()
    })
}

/// An address as the kernel prints it: words in the machine's order, as hexadecimal digits.
fn notation(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.as_chunks::<4>().0.iter();
    let ip: String = words
        .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
        .collect();
    format!("{ip}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_tells_what_is_on_its_way() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        sender.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(len) = sender.write(&[0; 65_536]) {
            written += len;
        }
        let (local, peer) = (sender.local_addr().unwrap(), sender.peer_addr().unwrap());
        let pending = unacknowledged(local, peer).unwrap();
        assert!(
            pending > 0 && pending <= u64::try_from(written).unwrap(),
            "{pending} of {written}"
        );
        receiver
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut whole = vec![0; written];
        receiver.read_exact(&mut whole).unwrap();
        // All of it has been read, so the last acknowledgement is a moment away at most.
        while unacknowledged(local, peer).unwrap() > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn addresses_are_found_in_the_kernels_notation() {
        if cfg!(target_endian = "big") {
            return;
        }
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000
   1: 0100000A:A001 0200000A:1B58 01 0000ABCD:00000000 01
";
        let found = find(
            table,
            "10.0.0.1:40961".parse().unwrap(),
            "10.0.0.2:7000".parse().unwrap(),
        );
        assert_eq!(found, Some(0xabcd));
        let other = find(
            table,
            "10.0.0.1:1".parse().unwrap(),
            "10.0.0.2:7000".parse().unwrap(),
        );
        assert_eq!(other, None);
    }
}
