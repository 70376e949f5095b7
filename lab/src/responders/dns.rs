//! Answers DNS queries (RFC 1035) from a few records: a server that knows them and nothing else.
//!
//! A name that it does not know does not exist, unless it knows names below it (RFC 8020). Aliases are followed as far as
//! it knows them. What does not fit into a datagram is cut off, so that the caller asks again by TCP.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use weft_controller::model::DnsRecord;

use super::{Caller, IDLE};
use crate::served::Transport;

/// How long answers may be kept, in seconds: short, because labs change.
const TTL: u32 = 5;
/// Most bytes of a datagram for a caller who does not say what he takes.
const DATAGRAM: u16 = 512;
/// Most bytes of a datagram for anybody: what passes an MTU of 1280 (RFC 8900 and DNS flag day 2020).
const DATAGRAM_MAX: u16 = 1232;
/// Most aliases that are followed.
const ALIASES: usize = 16;

/// What a responder knows, by names in lower case without the dot at the end.
pub(super) type Records = Arc<BTreeMap<String, Vec<DnsRecord>>>;

/// Answers datagrams for ever.
pub(super) async fn answer_datagrams(socket: UdpSocket, records: &Records, caller: &Caller) {
    let mut buffer = vec![0; 65_536];
    loop {
        // An error here is an earlier answer's: its receiver is gone.
        let Ok((len, peer)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if let Some(reply) = reply(records, &buffer[..len], true) {
            caller.record(Transport::Udp, peer);
            let _ = socket.send_to(&reply, peer).await;
        }
    }
}

/// Answers the queries of a connection until its end, each behind its length (RFC 7766).
pub(super) async fn answer_stream(mut stream: TcpStream, records: &Records) -> io::Result<()> {
    while let Ok(len) = timeout(IDLE, stream.read_u16()).await {
        let mut query = vec![0; usize::from(len?)];
        timeout(IDLE, stream.read_exact(&mut query)).await??;
        let Some(reply) = reply(records, &query, false) else {
            break;
        };
        let Ok(len) = u16::try_from(reply.len()) else {
            break;
        };
        stream.write_u16(len).await?;
        stream.write_all(&reply).await?;
    }
    Ok(())
}

/// The answer to a query; `None` to what is none.
fn reply(records: &Records, query: &[u8], is_datagram: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let request = &query.metadata;
    if request.message_type != MessageType::Query {
        return None;
    }
    let mut reply = Message::response(request.id, request.op_code);
    reply.metadata.recursion_desired = request.recursion_desired;
    reply.metadata.authoritative = true;
    let [question] = query.queries.as_slice() else {
        reply.metadata.response_code = ResponseCode::FormErr;
        return reply.to_vec().ok();
    };
    reply.add_query(question.clone());
    if request.op_code != OpCode::Query {
        reply.metadata.response_code = ResponseCode::NotImp;
    } else if question.query_class() != DNSClass::IN {
        reply.metadata.response_code = ResponseCode::Refused;
    } else {
        let (code, answers) = look_up(records, question.name(), question.query_type());
        reply.metadata.response_code = code;
        reply.add_answers(answers);
    }
    let mut most = DATAGRAM;
    if let Some(edns) = &query.edns {
        most = edns.max_payload().clamp(DATAGRAM, DATAGRAM_MAX);
        let mut own = Edns::new();
        own.set_max_payload(DATAGRAM_MAX);
        reply.set_edns(own);
    }
    let bytes = reply.to_vec().ok()?;
    if is_datagram && bytes.len() > usize::from(most) {
        return reply.truncate().to_vec().ok();
    }
    Some(bytes)
}

fn look_up(records: &Records, name: &Name, kind: RecordType) -> (ResponseCode, Vec<Record>) {
    let mut answers = Vec::new();
    let mut owner = name.clone();
    for _ in 0..ALIASES {
        let key = plain(&owner);
        let Some(known) = records.get(&key) else {
            let below = format!(".{key}");
            let exists = key.is_empty() || records.keys().any(|name| name.ends_with(&below));
            let code = if exists || !answers.is_empty() {
                ResponseCode::NoError
            } else {
                ResponseCode::NXDomain
            };
            return (code, answers);
        };
        let mut alias = None;
        for record in known {
            let data = match record {
                DnsRecord::Address(std::net::IpAddr::V4(address)) => RData::A((*address).into()),
                DnsRecord::Address(std::net::IpAddr::V6(address)) => RData::AAAA((*address).into()),
                DnsRecord::Alias(target) => match Name::from_ascii(format!("{target}.")) {
                    Ok(target) => {
                        alias = Some(target.clone());
                        RData::CNAME(CNAME(target))
                    }
                    Err(_) => return (ResponseCode::ServFail, answers),
                },
            };
            let found = data.record_type();
            if found == kind || found == RecordType::CNAME || kind == RecordType::ANY {
                answers.push(Record::from_rdata(owner.clone(), TTL, data));
            }
        }
        match alias {
            Some(target) if kind != RecordType::CNAME && kind != RecordType::ANY => owner = target,
            _ => return (ResponseCode::NoError, answers),
        }
    }
    (ResponseCode::ServFail, answers)
}

/// A name as records have it.
fn plain(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;

    use super::*;

    fn records() -> Records {
        let address = |text: &str| DnsRecord::Address(text.parse().unwrap());
        let alias = |text: &str| DnsRecord::Alias(text.to_owned());
        let many = (0..200).map(|n| address(&format!("10.1.0.{n}"))).collect();
        Arc::new(BTreeMap::from([
            (
                "web.example".to_owned(),
                vec![address("10.0.0.1"), address("fd00::1")],
            ),
            ("www.example".to_owned(), vec![alias("web.example")]),
            ("away.example".to_owned(), vec![alias("elsewhere.test")]),
            ("loop.example".to_owned(), vec![alias("loop.example")]),
            ("many.example".to_owned(), many),
        ]))
    }

    fn ask(name: &str, kind: RecordType, is_datagram: bool) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        let reply = reply(&records(), &query.to_vec().unwrap(), is_datagram).unwrap();
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!(reply.metadata.id, query.metadata.id);
        reply
    }

    #[test]
    fn names_are_answered_by_type_and_over_aliases() {
        for (name, kind, code, count) in [
            ("web.example.", RecordType::A, ResponseCode::NoError, 1),
            ("WEB.Example.", RecordType::AAAA, ResponseCode::NoError, 1),
            ("web.example.", RecordType::MX, ResponseCode::NoError, 0),
            ("www.example.", RecordType::A, ResponseCode::NoError, 2),
            ("www.example.", RecordType::CNAME, ResponseCode::NoError, 1),
            ("away.example.", RecordType::A, ResponseCode::NoError, 1),
            ("example.", RecordType::A, ResponseCode::NoError, 0),
            ("none.example.", RecordType::A, ResponseCode::NXDomain, 0),
            (
                "loop.example.",
                RecordType::A,
                ResponseCode::ServFail,
                ALIASES,
            ),
        ] {
            let reply = ask(name, kind, true);
            let found = (reply.metadata.response_code, reply.answers.len());
            assert_eq!(found, (code, count), "{name} {kind}");
        }
    }

    #[test]
    fn what_is_too_long_for_a_datagram_is_cut_off() {
        let short = ask("many.example.", RecordType::A, true);
        assert!(short.metadata.truncation && short.answers.is_empty());
        let whole = ask("many.example.", RecordType::A, false);
        assert!(!whole.metadata.truncation);
        assert_eq!(whole.answers.len(), 200);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _ = reply(&records(), &bytes, true);
            // A good head leads further in.
            let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
            query.extend(bytes);
            let _ = reply(&records(), &query, false);
        }
    }

    #[test]
    fn what_is_no_query_has_no_answer() {
        assert!(reply(&records(), b"hello", true).is_none());
        let answer = Message::response(1, OpCode::Query).to_vec().unwrap();
        assert!(reply(&records(), &answer, true).is_none());
    }
}
