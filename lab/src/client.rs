//! Requests to a lab's API, over TCP with a token or over the lab's Unix socket.
//!
//! Each request has a connection of its own; commands make a few requests in their life.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// The longest that a request may take unless the caller says something else.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is none that this client can use.
    #[error("`{0}` is no URL of an API: http://HOST:PORT is one")]
    Url(String),
    /// The path or a header cannot be sent.
    #[error("`{0}` cannot be part of a request")]
    Request(String),
    /// Nobody listens there.
    #[error("cannot reach the API at {target}")]
    Connect {
        /// The address or socket.
        target: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the API's answer was cut off")]
    Broken(#[from] hyper::Error),
    /// There was no answer in time.
    #[error("the API did not answer within {0:?}")]
    Timeout(Duration),
}

/// A secret; not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[derive(Clone, Debug)]
enum Target {
    Unix(PathBuf),
    Tcp {
        authority: String,
        token: Option<Token>,
    },
}

/// A client of one API.
#[derive(Clone, Debug)]
pub struct ApiClient {
    target: Target,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; `null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl ApiClient {
    /// A client of the API behind a Unix socket.
    pub fn unix(socket: &Path) -> Self {
        Self {
            target: Target::Unix(socket.to_owned()),
        }
    }

    /// A client of the API at `http://HOST:PORT`, with or without `/v1` behind it.
    ///
    /// # Errors
    /// [`ClientError::Url`].
    pub fn tcp(url: &str, token: Option<Token>) -> Result<Self, ClientError> {
        let wrong = || ClientError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let path_fits = matches!(uri.path(), "" | "/" | "/v1" | "/v1/");
        let (Some("http"), Some(authority), true) = (uri.scheme_str(), uri.authority(), path_fits)
        else {
            return Err(wrong());
        };
        let authority = match authority.port() {
            Some(_) => authority.to_string(),
            None => format!("{}:80", authority.host()),
        };
        Ok(Self {
            target: Target::Tcp { authority, token },
        })
    }

    /// Sends a request and reads the whole answer. `path` begins with `/`.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer; an answer of any status is none.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer, ClientError> {
        tokio::time::timeout(TIMEOUT, self.exchange(method, path, headers, body))
            .await
            .map_err(|_| ClientError::Timeout(TIMEOUT))?
    }

    /// `GET path`.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.request(Method::GET, path, &[], None).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(method).uri(path);
        let host = match &self.target {
            Target::Unix(_) => "localhost",
            Target::Tcp { authority, token } => {
                if let Some(Token(token)) = token {
                    request = request.header(AUTHORIZATION, format!("Bearer {token}"));
                }
                authority
            }
        };
        request = request.header(HOST, host);
        for (name, value) in headers {
            let name: HeaderName = name
                .parse()
                .map_err(|_| ClientError::Request((*name).to_owned()))?;
            let value: HeaderValue = value
                .parse()
                .map_err(|_| ClientError::Request((*value).to_owned()))?;
            request = request.header(name, value);
        }
        let has_type = request
            .headers_ref()
            .is_some_and(|headers| headers.contains_key(CONTENT_TYPE));
        if body.is_some() && !has_type {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|_| ClientError::Request(path.to_owned()))?;
        match &self.target {
            Target::Unix(socket) => {
                let stream = UnixStream::connect(socket).await;
                send(stream.map_err(unreachable(socket.display()))?, request).await
            }
            Target::Tcp { authority, .. } => {
                let stream = TcpStream::connect(authority).await;
                send(stream.map_err(unreachable(authority))?, request).await
            }
        }
    }
}

fn unreachable(target: impl fmt::Display) -> impl FnOnce(std::io::Error) -> ClientError {
    move |source| ClientError::Connect {
        target: target.to_string(),
        source,
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, ClientError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
    };
    // The connection is driven beside the exchange; its own end is not an error of the request.
    tokio::pin!(connection);
    tokio::pin!(exchange);
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            answer = &mut exchange => return answer,
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

/// A name as one segment of a path: everything but letters, digits and `-._~:@` is escaped.
pub fn path_segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_an_api_are_told_from_others() {
        for url in [
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/",
            "http://host:1/v1",
        ] {
            assert!(ApiClient::tcp(url, None).is_ok(), "{url}");
        }
        for url in ["127.0.0.1:8080", "https://host:1", "http://host:1/x", ""] {
            assert!(ApiClient::tcp(url, None).is_err(), "{url}");
        }
    }

    #[test]
    fn names_become_one_segment() {
        assert_eq!(path_segment("s1:p1--s2:p2"), "s1:p1--s2:p2");
        assert_eq!(path_segment("a/b?c"), "a%2Fb%3Fc");
    }
}
