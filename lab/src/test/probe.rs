//! Probes: what is sent from inside a host, and what came back.

pub mod http;
pub mod ping;
pub mod stream;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::cases::{Case, Probe};
use crate::netns::Netns;

/// What a probe saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// One for each packet, connection or request, in the order of sending.
    pub tries: Vec<Try>,
}

/// One packet, connection or request.
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
    /// What was answered.
    pub reply: Option<String>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// Who says that he answered.
    pub served_by: Option<String>,
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
            reply: None,
            status: None,
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

/// Sends a case's probe from inside its sender's namespace.
///
/// # Errors
/// When the probe's sockets cannot be opened: nothing was sent then.
pub async fn send(case: &Case, netns: &Netns) -> io::Result<Seen> {
    match &case.probe {
        Probe::Ping(pace) => ping::send(netns, case.address, *pace).await,
        Probe::Tcp { port, pace } => {
            let wants_reply = case.expect.reply.is_some();
            stream::connect(
                netns,
                SocketAddr::new(case.address, *port),
                *pace,
                wants_reply,
            )
            .await
        }
        Probe::Udp { port, pace } => {
            stream::datagrams(netns, SocketAddr::new(case.address, *port), *pace).await
        }
        Probe::Http {
            port,
            authority,
            path,
            pace,
        } => {
            http::get(
                netns,
                SocketAddr::new(case.address, *port),
                authority,
                path,
                *pace,
            )
            .await
        }
    }
}

/// Opens `count` sockets inside a namespace, all on one visit.
fn open_all<T: Send>(
    netns: &Netns,
    count: u32,
    open: impl Fn() -> io::Result<T> + Sync,
) -> io::Result<Vec<T>> {
    netns.run(|| (0..count).map(|_| open()).collect::<io::Result<Vec<T>>>())?
}
