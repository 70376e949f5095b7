//! TCP connections and UDP datagrams, each from a port of its own.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::{Answer, End, Seen, Try, paced};
use crate::netns::Netns;
use crate::test::cases::Pace;

/// Longest reply that is read, in bytes.
const REPLY_MAX: u64 = 1 << 20;

/// Connects, and reads what is said where that matters.
pub(super) async fn connect(
    netns: &Netns,
    to: SocketAddr,
    pace: Pace,
    wants_reply: bool,
) -> io::Result<Seen> {
    paced(
        netns,
        pace,
        || tcp_socket(to),
        |socket, _| connect_one(socket, to, pace.timeout, wants_reply),
    )
    .await
}

/// A socket for a connection, opened in the calling thread's namespace.
pub(super) fn tcp_socket(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Connects a socket before a deadline; the connection and how long it took.
pub(super) async fn establish(
    socket: Socket,
    to: SocketAddr,
    deadline: Instant,
) -> Result<(TcpStream, Duration), End> {
    let start = Instant::now();
    let socket = TcpSocket::from_std_stream(socket.into());
    match timeout_at(deadline, socket.connect(to)).await {
        Ok(Ok(stream)) => Ok((stream, Instant::now() - start)),
        Ok(Err(error)) => Err(End::of(&error)),
        Err(_) => Err(End::Silence),
    }
}

async fn connect_one(socket: Socket, to: SocketAddr, timeout: Duration, wants_reply: bool) -> Try {
    let start = Instant::now();
    let deadline = start + timeout;
    let (mut stream, rtt) = match establish(socket, to, deadline).await {
        Ok(connected) => connected,
        Err(end) => return Try::new(end, Instant::now() - start),
    };
    let local = stream.local_addr().ok();
    let mut answer = None;
    if wants_reply {
        let read = async {
            let mut bytes = Vec::new();
            stream.shutdown().await?;
            (&mut stream)
                .take(REPLY_MAX)
                .read_to_end(&mut bytes)
                .await?;
            Ok::<_, io::Error>(bytes)
        };
        answer = match timeout_at(deadline, read).await {
            Ok(Ok(bytes)) => Some(Answer::Text(String::from_utf8_lossy(&bytes).into_owned())),
            Ok(Err(_)) | Err(_) => None,
        };
    }
    Try {
        local,
        rtt: Some(rtt),
        answer,
        ..Try::new(End::Answered, Instant::now() - start)
    }
}

/// Sends datagrams and waits for what comes back.
pub(super) async fn datagrams(netns: &Netns, to: SocketAddr, pace: Pace) -> io::Result<Seen> {
    paced(
        netns,
        pace,
        || udp_socket(to),
        |socket, index| async move {
            let start = Instant::now();
            match datagram(socket, to, start + pace.timeout, index).await {
                Ok((local, reply)) => {
                    let is_answered = reply.is_some();
                    let end = if is_answered {
                        End::Answered
                    } else {
                        End::Silence
                    };
                    let took = Instant::now() - start;
                    Try {
                        local,
                        rtt: is_answered.then_some(took),
                        answer: reply.map(Answer::Text),
                        ..Try::new(end, took)
                    }
                }
                Err(error) => Try::new(End::of(&error), Instant::now() - start),
            }
        },
    )
    .await
}

/// A socket for datagrams, opened in the calling thread's namespace.
pub(super) fn udp_socket(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// One datagram: its own address, and the answer before the deadline.
async fn datagram(
    socket: Socket,
    to: SocketAddr,
    deadline: Instant,
    index: u32,
) -> io::Result<(Option<SocketAddr>, Option<String>)> {
    socket.connect(&SockAddr::from(to))?;
    let socket = UdpSocket::from_std(socket.into())?;
    let local = socket.local_addr().ok();
    socket.send(format!("weft {index}").as_bytes()).await?;
    let mut buffer = vec![0; 65_536];
    match timeout_at(deadline, socket.recv(&mut buffer)).await {
        Ok(Ok(len)) => Ok((
            local,
            Some(String::from_utf8_lossy(&buffer[..len]).into_owned()),
        )),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok((local, None)),
    }
}
