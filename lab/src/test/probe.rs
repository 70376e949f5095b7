//! Probes: what is sent from inside a host, and what came back.

pub mod bulk;
pub mod dns;
pub mod http;
pub mod ping;
pub mod program;
pub mod stream;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::cases::{Pace, Packets, Target};
use crate::netns::Netns;

/// What a probe saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// One for each packet, connection or request, in the order of sending.
    pub tries: Vec<Try>,
}

/// One packet, connection, request or program.
#[derive(Clone, Debug, PartialEq)]
pub struct Try {
    /// How it ended.
    pub end: End,
    /// Its own address and port, where it has one.
    pub local: Option<SocketAddr>,
    /// Until the echo, until connected, until the datagram came back, until the head of the answer.
    pub rtt: Option<Duration>,
    /// The whole exchange.
    pub took: Duration,
    /// What was answered, where that is read.
    pub answer: Option<Answer>,
    /// Who says that he answered.
    pub served_by: Option<String>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// By TCP or UDP.
    Text(String),
    /// By HTTP.
    Page(Page),
    /// By DNS.
    Names(Names),
    /// By a program.
    Output(Output),
    /// What a bulk transfer brought over.
    Bulk(Bulk),
}

/// An HTTP answer, as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// Headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// DNS answers, those to the queries of one try together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The response code; of several the first that is no success.
    pub rcode: u16,
    /// A records.
    pub a: Vec<Ipv4Addr>,
    /// AAAA records.
    pub aaaa: Vec<Ipv6Addr>,
    /// Targets of CNAME records, in lower case without the dot at the end.
    pub cname: Vec<String>,
}

/// How a program ended, and what it said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; 128 and the number where a signal ended it.
    pub status: u8,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// What a bulk transfer brought over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// Bytes of payload that the other end has acknowledged.
    pub bytes: u64,
    /// In how long.
    pub elapsed: Duration,
}

/// How a packet, connection or request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was answered.
    Answered,
    /// It was refused.
    Refused,
    /// Nobody answered.
    Silence,
    /// It was stopped: the program did not end in time.
    Killed,
    /// Something else went wrong.
    Broken(String),
}

impl Try {
    fn new(end: End, took: Duration) -> Self {
        Self {
            end,
            local: None,
            rtt: None,
            took,
            answer: None,
            served_by: None,
        }
    }
}

impl End {
    /// What an error of a socket means.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => Self::Silence,
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// Sends packets from inside their sender's namespace.
///
/// # Errors
/// When the probe's sockets cannot be opened: nothing was sent then.
pub async fn send(
    target: &Target,
    packets: &Packets,
    wants_reply: bool,
    netns: &Netns,
) -> io::Result<Seen> {
    let pace = target.pace;
    let to = |port: u16| SocketAddr::new(target.address, port);
    match packets {
        Packets::Ping => ping::send(netns, target.address, pace).await,
        Packets::Tcp {
            port,
            bulk: Some(duration),
        } => bulk::send(netns, to(*port), pace, *duration).await,
        Packets::Tcp { port, bulk: None } => {
            stream::connect(netns, to(*port), pace, wants_reply).await
        }
        Packets::Udp { port } => stream::datagrams(netns, to(*port), pace).await,
        Packets::Http {
            port,
            authority,
            path,
        } => http::get(netns, to(*port), authority, path, pace).await,
        Packets::Dns { port, name, types } => dns::ask(netns, to(*port), name, types, pace).await,
    }
}

/// Does the same once for each try, at the pace's times, all from sockets that one visit opened.
async fn paced<T: Send, F: Future<Output = Try>>(
    netns: &Netns,
    pace: Pace,
    open: impl Fn() -> io::Result<T> + Sync,
    one: impl Fn(T, u32) -> F,
) -> io::Result<Seen> {
    let sockets = open_all(netns, pace.count, open)?;
    let start = Instant::now();
    let one = &one;
    let tries = sockets
        .into_iter()
        .zip(0_u32..)
        .map(|(socket, index)| async move {
            tokio::time::sleep_until(start + pace.interval.saturating_mul(index)).await;
            one(socket, index).await
        });
    Ok(Seen {
        tries: join_all(tries).await,
    })
}

/// Opens `count` sockets inside a namespace, all on one visit.
fn open_all<T: Send>(
    netns: &Netns,
    count: u32,
    open: impl Fn() -> io::Result<T> + Sync,
) -> io::Result<Vec<T>> {
    netns.run(|| (0..count).map(|_| open()).collect::<io::Result<Vec<T>>>())?
}
