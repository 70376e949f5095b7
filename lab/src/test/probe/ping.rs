//! ICMP echo (RFC 792) and ICMPv6 echo (RFC 4443) by a raw socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::{End, Seen, Try, open_all};
use crate::netns::Netns;
use crate::test::cases::Pace;

/// Tells the probes of this process apart: every host sees the answers to all of its own.
static NEXT_ID: AtomicU16 = AtomicU16::new(1);

/// Payload of each echo request, 56 bytes as with ping(8).
const PAYLOAD: usize = 56;

/// Sends echo requests and waits for their answers.
pub(super) async fn send(netns: &Netns, to: IpAddr, pace: Pace) -> io::Result<Seen> {
    let socket = open(netns, to)?;
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let count = usize::try_from(pace.count).unwrap_or(usize::MAX);
    let mut sent: Vec<Instant> = Vec::with_capacity(count);
    let mut answered: Vec<Option<Duration>> = vec![None; count];
    let mut failed: Vec<Option<End>> = vec![None; count];
    let start = Instant::now();
    let mut buffer = [0; 2048];
    loop {
        let open = answered
            .iter()
            .zip(&failed)
            .take(sent.len())
            .any(|(rtt, end)| rtt.is_none() && end.is_none());
        let next_send =
            (sent.len() < count).then(|| start + pace.interval.saturating_mul(index(sent.len())));
        let give_up = sent.last().map(|last| *last + pace.timeout);
        let wake = match (next_send, give_up) {
            (Some(at), _) => at,
            (None, Some(at)) if open => at,
            _ => break,
        };
        tokio::select! {
            biased;
            received = socket.recv(&mut buffer) => {
                let at = Instant::now();
                // An ICMP error about an earlier request is reported here; the request's own silence tells the same.
                let Ok(len) = received else { continue };
                if let Some(seq) = parse(&buffer[..len], to, id).map(usize::from)
                    && let (Some(sent), Some(slot)) = (sent.get(seq), answered.get_mut(seq))
                    && slot.is_none()
                    && at - *sent <= pace.timeout
                {
                    *slot = Some(at - *sent);
                }
            }
            () = tokio::time::sleep_until(wake) => {
                if next_send.is_none() {
                    break;
                }
                let seq = sent.len();
                sent.push(Instant::now());
                let request = request(to, id, u16::try_from(seq % 65_536).unwrap_or_default());
                if let Err(error) = socket.send(&request).await {
                    failed[seq] = Some(End::of(&error));
                }
            }
        }
    }
    let tries = answered
        .into_iter()
        .zip(failed)
        .map(|(rtt, end)| {
            let default = if rtt.is_some() {
                End::Answered
            } else {
                End::Silence
            };
            Try {
                rtt,
                ..Try::new(end.unwrap_or(default), rtt.unwrap_or(pace.timeout))
            }
        })
        .collect();
    Ok(Seen { tries })
}

fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A raw socket that hears only the target. Tokio drives any descriptor that can send and receive datagrams.
fn open(netns: &Netns, to: IpAddr) -> io::Result<UdpSocket> {
    let open = || {
        let (domain, protocol) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let socket = open_all(netns, 1, open)?
        .pop()
        .ok_or(io::ErrorKind::NotFound)?;
    socket.connect(&SockAddr::from(SocketAddr::new(to, 0)))?;
    UdpSocket::from_std(OwnedFd::from(socket).into())
}

/// An echo request. The kernel fills in ICMPv6's checksum, because it covers the addresses.
fn request(to: IpAddr, id: u16, seq: u16) -> Vec<u8> {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let mut packet = vec![kind, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(seq.to_be_bytes());
    packet.extend((0..PAYLOAD).map(|byte| u8::try_from(byte).unwrap_or_default()));
    if to.is_ipv4() {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The sequence number of an echo reply to this probe. IPv4's raw sockets hand over the IP header too.
fn parse(packet: &[u8], to: IpAddr, id: u16) -> Option<u16> {
    let (kind, message) = match to {
        IpAddr::V4(_) => (0, packet.get(usize::from(packet.first()? & 0x0f) * 4..)?),
        IpAddr::V6(_) => (129, packet),
    };
    let [found, 0, _, _, id0, id1, seq0, seq1] = *message.first_chunk::<8>()? else {
        return None;
    };
    (found == kind && u16::from_be_bytes([id0, id1]) == id)
        .then(|| u16::from_be_bytes([seq0, seq1]))
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_a_checksum_that_adds_up() {
        let packet = request("10.0.0.1".parse().unwrap(), 7, 9);
        assert_eq!(checksum(&packet), 0);
        assert_eq!(packet.len(), 8 + PAYLOAD);
    }

    #[test]
    fn replies_are_told_from_other_messages() {
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        let mut packet = vec![0x45];
        packet.resize(20, 0);
        packet.extend([0, 0, 1, 2, 0, 7, 0, 9]);
        assert_eq!(parse(&packet, v4, 7), Some(9));
        assert_eq!(parse(&packet, v4, 8), None);
        packet[20] = 8;
        assert_eq!(parse(&packet, v4, 7), None);
        for len in 0..packet.len() {
            assert_eq!(parse(&packet[..len], v4, 7), None);
        }
        assert_eq!(
            parse(&[129, 0, 1, 2, 0, 7, 0, 9], "fd00::1".parse().unwrap(), 7),
            Some(9)
        );
    }

    #[tokio::test]
    async fn loopback_answers() {
        if !crate::netns::allowed("loopback_answers") {
            return;
        }
        let made = std::thread::spawn(|| {
            let netns = Netns::enter_new().unwrap();
            crate::netlink::configure(&[]).unwrap();
            netns
        });
        let netns = made.join().unwrap();
        let pace = Pace {
            count: 3,
            interval: Duration::from_millis(1),
            timeout: Duration::from_secs(5),
        };
        let seen = send(&netns, "127.0.0.1".parse().unwrap(), pace)
            .await
            .unwrap();
        assert_eq!(seen.tries.len(), 3);
        assert!(
            seen.tries
                .iter()
                .all(|one| one.end == End::Answered && one.rtt.is_some())
        );
    }
}
