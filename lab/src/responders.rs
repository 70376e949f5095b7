//! The small servers behind `listen`: they make tests possible without installed servers.
//!
//! - TCP: sends `reply` and closes its side, then reads until the caller closes; without a reply it sends back what comes.
//! - UDP: answers each datagram with `reply`; without one with the same datagram.
//! - HTTP: answers every request with status and body, and names the host in the header `weft-served-by`.
//! - DNS: answers queries from its records, by UDP and TCP.
//!
//! Sockets are opened by whoever builds the host, inside its namespace; one runtime drives them all.

mod dns;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weft_controller::model::Listen;

use crate::served::{Register, Served, Transport, plain};

/// The header that names the host that answered.
pub const SERVED_BY: &str = "weft-served-by";

/// A connection on which nothing happens for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// After a failed accept (no descriptors left, say) the listener rests.
const ACCEPT_REST: Duration = Duration::from_millis(50);
const BACKLOG: i32 = 1024;

/// Which addresses a host's responders listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 only.
    V4,
    /// IPv6, and IPv4 with it.
    Dual,
}

/// A responder with its socket, not yet running.
#[derive(Debug)]
pub struct Responder {
    host: String,
    listen: Listen,
    socket: Opened,
}

/// What a responder hears by; DNS by both.
#[derive(Debug)]
struct Opened {
    tcp: Option<TcpListener>,
    udp: Option<UdpSocket>,
}

/// Why a responder cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("{host} cannot listen on port {port}")]
pub struct ListenError {
    host: String,
    port: u16,
    source: io::Error,
}

impl Responder {
    /// Opens the socket in the calling thread's namespace.
    ///
    /// # Errors
    /// [`ListenError`], for example when the port is taken.
    pub fn open(host: &str, listen: &Listen, family: Family) -> Result<Self, ListenError> {
        let (is_tcp, is_udp) = match listen {
            Listen::Tcp { .. } | Listen::Http { .. } => (true, false),
            Listen::Udp { .. } => (false, true),
            Listen::Dns { .. } => (true, true),
        };
        let open = || -> io::Result<Opened> {
            let port = listen.port();
            Ok(Opened {
                tcp: is_tcp.then(|| open_tcp(family, port)).transpose()?,
                udp: is_udp.then(|| open_udp(family, port)).transpose()?,
            })
        };
        match open() {
            Ok(socket) => Ok(Self {
                host: host.to_owned(),
                listen: listen.clone(),
                socket,
            }),
            Err(source) => Err(ListenError {
                host: host.to_owned(),
                port: listen.port(),
                source,
            }),
        }
    }

    /// Starts answering on the current runtime, until `stop` is cancelled; `tasks` owns what is started.
    ///
    /// # Errors
    /// When the runtime cannot take the socket.
    pub fn start(
        self,
        register: Register,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let caller = Caller {
            host: self.host.into(),
            port: self.listen.port(),
            register,
        };
        let Opened { tcp, udp } = self.socket;
        let records = match &self.listen {
            Listen::Dns { records, .. } => dns::Records::new(records.clone()),
            Listen::Tcp { .. } | Listen::Udp { .. } | Listen::Http { .. } => {
                dns::Records::default()
            }
        };
        if let Some(socket) = udp {
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            let (caller, stop) = (caller.clone(), stop.clone());
            let (listen, records) = (self.listen.clone(), records.clone());
            tasks.spawn(async move {
                let answer = async {
                    match &listen {
                        Listen::Dns { .. } => {
                            dns::answer_datagrams(socket, &records, &caller).await
                        }
                        Listen::Udp { reply, .. } => answer_datagrams(socket, reply, &caller).await,
                        Listen::Tcp { .. } | Listen::Http { .. } => {}
                    }
                };
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = answer => {}
                }
            });
        }
        if let Some(listener) = tcp {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let service = Service {
                listen: self.listen,
                records,
                caller,
            };
            tasks.spawn(accept(listener, Arc::new(service), tasks.clone(), stop));
        }
        Ok(())
    }
}

fn open_socket(family: Family, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::Dual => Domain::IPV6,
    };
    let socket = Socket::new(domain, kind, Some(protocol))?;
    if family == Family::Dual {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Every address of a family.
fn any(family: Family, port: u16) -> SockAddr {
    let any: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::Dual => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(any, port).into()
}

fn open_tcp(family: Family, port: u16) -> io::Result<TcpListener> {
    let socket = open_socket(family, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&any(family, port))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn open_udp(family: Family, port: u16) -> io::Result<UdpSocket> {
    let socket = open_socket(family, Type::DGRAM, Protocol::UDP)?;
    socket.bind(&any(family, port))?;
    Ok(socket.into())
}

/// What a listener's connections are answered with.
#[derive(Debug)]
struct Service {
    listen: Listen,
    records: dns::Records,
    caller: Caller,
}

/// Who to write down as the one that answered.
#[derive(Clone, Debug)]
struct Caller {
    host: Arc<str>,
    port: u16,
    register: Register,
}

impl Caller {
    fn record(&self, proto: Transport, peer: SocketAddr) {
        self.register.add(Served {
            proto,
            peer: plain(peer),
            host: self.host.to_string(),
            port: self.port,
        });
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    service: Arc<Service>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let caller = &service.caller;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(host = %caller.host, %error, "cannot accept");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        caller.record(Transport::Tcp, peer);
        let (service, stop) = (Arc::clone(&service), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = service.answer(stream) => {}
            }
        });
    }
}

impl Service {
    async fn answer(&self, stream: TcpStream) {
        // The caller's misbehaviour ends his connection and nothing else.
        match &self.listen {
            Listen::Http { status, body, .. } => {
                serve_http(stream, *status, body, &self.caller).await;
            }
            Listen::Tcp { reply, .. } | Listen::Udp { reply, .. } => {
                let _ = talk(stream, reply.as_bytes()).await;
            }
            Listen::Dns { .. } => {
                let _ = dns::answer_stream(stream, &self.records).await;
            }
        }
    }
}

async fn talk(mut stream: TcpStream, reply: &[u8]) -> io::Result<()> {
    let echo = reply.is_empty();
    if !echo {
        stream.write_all(reply).await?;
        stream.shutdown().await?;
    }
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read) = tokio::time::timeout(IDLE, stream.read(&mut buffer)).await {
        let read = read?;
        if read == 0 {
            break;
        }
        if echo {
            stream.write_all(&buffer[..read]).await?;
        }
    }
    Ok(())
}

async fn answer_datagrams(socket: tokio::net::UdpSocket, reply: &str, caller: &Caller) {
    let mut buffer = vec![0; 65_536];
    loop {
        // An error here is an earlier answer's: its receiver is gone.
        let Ok((len, peer)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        caller.record(Transport::Udp, peer);
        let answer = if reply.is_empty() {
            &buffer[..len]
        } else {
            reply.as_bytes()
        };
        let _ = socket.send_to(answer, peer).await;
    }
}

async fn serve_http(stream: TcpStream, status: u16, body: &str, caller: &Caller) {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let service = service_fn(|_request| {
        let body = body.clone();
        async move {
            let mut response = Response::new(Full::new(body));
            *response.status_mut() =
                hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::OK);
            let headers = response.headers_mut();
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/plain; charset=utf-8"),
            );
            if let Ok(host) = HeaderValue::from_str(&caller.host) {
                headers.insert(SERVED_BY, host);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service);
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A responder on this machine's own loopback, at a free port.
    fn start(listen: &Listen) -> (SocketAddr, Register, CancellationToken, TaskTracker) {
        let responder = Responder::open("web", listen, Family::V4).unwrap();
        let Opened { tcp, udp } = &responder.socket;
        let address = match (tcp, udp) {
            (Some(listener), _) => listener.local_addr(),
            (_, Some(socket)) => socket.local_addr(),
            (None, None) => unreachable!("a responder hears by something"),
        };
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.unwrap().port());
        let (register, stop, tasks) = (
            Register::default(),
            CancellationToken::new(),
            TaskTracker::new(),
        );
        responder
            .start(register.clone(), &tasks, stop.clone())
            .unwrap();
        (address, register, stop, tasks)
    }

    async fn end(stop: CancellationToken, tasks: TaskTracker) {
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn tcp_sends_its_reply_and_writes_the_caller_down() {
        let listen = Listen::Tcp {
            port: 0,
            reply: "hello".to_owned(),
        };
        let (address, register, stop, tasks) = start(&listen);
        let mut stream = TcpStream::connect(address).await.unwrap();
        let own = stream.local_addr().unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello");
        let served = register
            .find(Transport::Tcp, own, Duration::from_secs(5))
            .await;
        assert_eq!(served.unwrap().host, "web");
        end(stop, tasks).await;
    }

    #[tokio::test]
    async fn udp_answers_each_datagram() {
        let listen = Listen::Udp {
            port: 0,
            reply: String::new(),
        };
        let (address, _, stop, tasks) = start(&listen);
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(b"echo", address).await.unwrap();
        let mut buffer = [0; 16];
        let (len, _) = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..len], b"echo");
        end(stop, tasks).await;
    }

    #[tokio::test]
    async fn http_answers_with_status_body_and_its_name() {
        let listen = Listen::Http {
            port: 0,
            status: 418,
            body: "short and stout".to_owned(),
        };
        let (address, _, stop, tasks) = start(&listen);
        let client = crate::client::ApiClient::tcp(&format!("http://{address}"), None).unwrap();
        let answer = client.get("/anything").await.unwrap();
        assert_eq!(answer.status, 418);
        assert_eq!(answer.headers[SERVED_BY], "web");
        assert_eq!(answer.body, "short and stout");
        end(stop, tasks).await;
    }
}
