//! HTTP/1.1 requests, one connection each.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use socket2::Socket;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::stream::{establish, tcp_socket};
use super::{Answer, End, Page, Seen, Try, paced};
use crate::netns::Netns;
use crate::responders::SERVED_BY;
use crate::test::cases::Pace;

/// Longest body that is read, in bytes.
const BODY_MAX: usize = 16 << 20;

/// Asks for a page.
pub(super) async fn get(
    netns: &Netns,
    to: SocketAddr,
    authority: &str,
    path: &str,
    pace: Pace,
) -> io::Result<Seen> {
    paced(
        netns,
        pace,
        || tcp_socket(to),
        |socket, _| async move {
            let start = Instant::now();
            let mut seen = Try::new(End::Silence, pace.timeout);
            let end = ask(socket, to, authority, path, start + pace.timeout, &mut seen).await;
            Try {
                end,
                took: Instant::now() - start,
                ..seen
            }
        },
    )
    .await
}

/// One request; what is known of its answer stands in `seen`, also when it breaks half-way.
async fn ask(
    socket: Socket,
    to: SocketAddr,
    authority: &str,
    path: &str,
    deadline: Instant,
    seen: &mut Try,
) -> End {
    let (stream, _) = match establish(socket, to, deadline).await {
        Ok(connected) => connected,
        Err(end) => return end,
    };
    seen.local = stream.local_addr().ok();
    match timeout_at(deadline, exchange(stream, authority, path, seen)).await {
        Ok(Ok(())) => End::Answered,
        Ok(Err(message)) => End::Broken(message),
        Err(_) => End::Silence,
    }
}

async fn exchange(
    stream: TcpStream,
    authority: &str,
    path: &str,
    seen: &mut Try,
) -> Result<(), String> {
    let start = Instant::now();
    let broken = |error: hyper::Error| format!("no HTTP: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let request = Request::get(path)
        .header(HOST, authority)
        .header(USER_AGENT, "weft")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the URL cannot be asked for: {error}"))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        seen.rtt = Some(Instant::now() - start);
        let (head, body) = answer.into_parts();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        seen.served_by = head.headers.get(SERVED_BY).map(text);
        let headers = head.headers.iter();
        let page = Page {
            status: head.status.as_u16(),
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), text(value)))
                .collect(),
            body: String::new(),
        };
        seen.answer = Some(Answer::Page(page.clone()));
        let body = Limited::new(body, BODY_MAX).collect().await;
        let body = body
            .map_err(|error| format!("the body cannot be read: {error}"))?
            .to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        seen.answer = Some(Answer::Page(Page { body, ..page }));
        Ok(())
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            done = &mut exchange => return done,
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}
