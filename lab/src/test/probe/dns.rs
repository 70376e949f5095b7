//! DNS queries by UDP, again by TCP where the answer was cut off (RFC 1035, RFC 7766).

use std::io;
use std::net::SocketAddr;

use futures_util::future::join_all;
use hickory_proto::op::{Edns, Message, MessageType, Query};
use hickory_proto::rr::{Name, RData, RecordType as Kind};
use socket2::{SockAddr, Socket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use weft_controller::spec::RecordType;

use super::stream::{establish, tcp_socket, udp_socket};
use super::{Answer, End, Names, Seen, Try, paced};
use crate::netns::Netns;
use crate::test::cases::Pace;

/// Largest datagram that is asked for.
const DATAGRAM: u16 = 1232;

/// Sockets of one query: TCP is needed only where the answer was cut off, and its socket has to be opened inside too.
type Sockets = Vec<(Socket, Socket)>;

/// Looks a name up.
pub(super) async fn ask(
    netns: &Netns,
    to: SocketAddr,
    name: &str,
    types: &[RecordType],
    pace: Pace,
) -> io::Result<Seen> {
    let name = Name::from_ascii(format!("{}.", name.trim_end_matches('.')))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let name = &name;
    let open = || -> io::Result<Sockets> {
        let pair = |_| Ok((udp_socket(to)?, tcp_socket(to)?));
        types.iter().map(pair).collect()
    };
    let look_up = |sockets: Sockets, _| async move {
        let start = Instant::now();
        let deadline = start + pace.timeout;
        let queries = sockets.into_iter().zip(types);
        let answers = queries.map(|(pair, kind)| query(pair, to, name, *kind, deadline));
        merge(join_all(answers).await, Instant::now() - start)
    };
    paced(netns, pace, open, look_up).await
}

/// The try that several queries make together: answered when all are.
fn merge(queries: Vec<Result<Answered, End>>, took: std::time::Duration) -> Try {
    let mut seen = Try::new(End::Answered, took);
    let mut names = Names::default();
    for query in queries {
        match query {
            Ok(Answered { local, message }) => {
                seen.local = seen.local.or(local);
                let rcode = u16::from(message.metadata.response_code);
                if names.rcode == 0 {
                    names.rcode = rcode;
                }
                collect(&message, &mut names);
            }
            Err(end) => {
                seen.end = end;
                return seen;
            }
        }
    }
    seen.rtt = Some(took);
    seen.answer = Some(Answer::Names(names));
    seen
}

fn collect(message: &Message, names: &mut Names) {
    for record in &message.answers {
        match &record.data {
            RData::A(address) if !names.a.contains(&address.0) => names.a.push(address.0),
            RData::AAAA(address) if !names.aaaa.contains(&address.0) => {
                names.aaaa.push(address.0);
            }
            RData::CNAME(target) => {
                let text = target.0.to_ascii().to_ascii_lowercase();
                let text = text.trim_end_matches('.').to_owned();
                if !names.cname.contains(&text) {
                    names.cname.push(text);
                }
            }
            _ => {}
        }
    }
}

/// An answer, and the address that asked.
struct Answered {
    local: Option<SocketAddr>,
    message: Message,
}

async fn query(
    (udp, tcp): (Socket, Socket),
    to: SocketAddr,
    name: &Name,
    kind: RecordType,
    deadline: Instant,
) -> Result<Answered, End> {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name.clone(), wire(kind)));
    let mut edns = Edns::new();
    edns.set_max_payload(DATAGRAM);
    query.set_edns(edns);
    let bytes = query
        .to_vec()
        .map_err(|error| End::Broken(format!("the query cannot be written: {error}")))?;
    let asked = timeout_at(deadline, by_datagram(udp, to, &bytes, &query)).await;
    let answered = asked
        .map_err(|_| End::Silence)?
        .map_err(|error| End::of(&error))?;
    if !answered.message.metadata.truncation {
        return Ok(answered);
    }
    let (stream, _) = establish(tcp, to, deadline).await?;
    let asked = timeout_at(deadline, by_stream(stream, &bytes, &query)).await;
    let message = asked
        .map_err(|_| End::Silence)?
        .map_err(|error| End::of(&error))?;
    Ok(Answered {
        message,
        ..answered
    })
}

async fn by_datagram(
    socket: Socket,
    to: SocketAddr,
    bytes: &[u8],
    query: &Message,
) -> io::Result<Answered> {
    socket.connect(&SockAddr::from(to))?;
    let socket = UdpSocket::from_std(socket.into())?;
    let local = socket.local_addr().ok();
    socket.send(bytes).await?;
    let mut buffer = vec![0; 65_536];
    loop {
        let len = socket.recv(&mut buffer).await?;
        // What does not belong to the query is somebody else's, as resolvers see it too.
        if let Some(message) = answer_to(query, &buffer[..len]) {
            return Ok(Answered { local, message });
        }
    }
}

async fn by_stream(
    mut stream: tokio::net::TcpStream,
    bytes: &[u8],
    query: &Message,
) -> io::Result<Message> {
    let len = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_u16(len).await?;
    stream.write_all(bytes).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    answer_to(query, &answer).ok_or_else(|| io::Error::other("the answer is to another query"))
}

fn answer_to(query: &Message, bytes: &[u8]) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    let is_ours = message.metadata.id == query.metadata.id
        && message.metadata.message_type == MessageType::Response
        && (message.queries.is_empty() || message.queries == query.queries);
    is_ours.then_some(message)
}

fn wire(kind: RecordType) -> Kind {
    match kind {
        RecordType::A => Kind::A,
        RecordType::Aaaa => Kind::AAAA,
        RecordType::Cname => Kind::CNAME,
        RecordType::Mx => Kind::MX,
        RecordType::Ns => Kind::NS,
        RecordType::Ptr => Kind::PTR,
        RecordType::Soa => Kind::SOA,
        RecordType::Srv => Kind::SRV,
        RecordType::Txt => Kind::TXT,
    }
}
