//! The data plane's own socket, `lab.sock`: how the lab is doing, who served whom, and how to end it.
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | [`LabStatus`] |
//! | `GET /served?proto=tcp&peer=ADDR:PORT[&wait=MS]` | [`Served`](crate::served::Served), or 404 |
//! | `POST /shutdown` | 202; the lab ends |
//!
//! It works without the controller, which may be away.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Answer, ApiClient, ClientError};
use crate::programs::{ProgramStatus, Programs};
use crate::runtime_dir::LabDir;
use crate::served::{Register, Served, Transport};
use crate::supervisor::ControllerState;

/// The longest that `wait` may ask for.
const PATIENCE_MAX: Duration = Duration::from_secs(30);

/// How far a lab is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It is being built, or the controller has not brought every switch to its desired state yet.
    Starting,
    /// Everything is as declared.
    Ready,
    /// It was ready; now the controller is away or has something left to do.
    Degraded,
}

/// A process's part in the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Hosts and switches.
    Dataplane,
    /// Controller and API.
    Controller,
}

/// A process of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its part.
    pub role: Role,
    /// Its id, as `/proc` names it.
    pub pid: u32,
}

/// How the lab is doing, as its data plane sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabStatus {
    /// How far it is.
    pub phase: Phase,
    /// Its processes that run.
    pub processes: Vec<Process>,
    /// `http://ADDRESS:PORT` of its API, once known.
    pub api: Option<String>,
    /// How often the controller was started again.
    pub restarts: u64,
    /// Programs that the file started.
    #[serde(default)]
    pub programs: Vec<ProgramStatus>,
}

impl LabStatus {
    fn new(pid: u32, controller: &ControllerState, programs: Vec<ProgramStatus>) -> Self {
        let mut processes = vec![Process {
            role: Role::Dataplane,
            pid,
        }];
        processes.extend(controller.pid.map(|pid| Process {
            role: Role::Controller,
            pid,
        }));
        let phase = match controller {
            ControllerState { is_ready: true, .. } => Phase::Ready,
            ControllerState {
                was_ready: true, ..
            } => Phase::Degraded,
            _ => Phase::Starting,
        };
        Self {
            phase,
            processes,
            api: controller.api.clone(),
            restarts: controller.restarts,
            programs,
        }
    }
}

/// What the socket answers from.
#[derive(Clone, Debug)]
pub struct Control {
    /// The data plane's process.
    pub pid: u32,
    /// The controller's state.
    pub controller: watch::Receiver<ControllerState>,
    /// The programs that the file started.
    pub programs: Programs,
    /// The responders' callers.
    pub served: Register,
    /// Cancelled when somebody asks for the lab's end.
    pub shutdown: CancellationToken,
}

impl Control {
    /// Answers on a socket until `stop` is cancelled; `tasks` owns the connections.
    pub async fn serve(self, listener: UnixListener, tasks: TaskTracker, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // No descriptors left: they come back when connections end.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (control, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move {
                let service = service_fn(|request| {
                    let control = control.clone();
                    async move { Ok::<_, Infallible>(control.answer(&request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::pin!(connection);
                tokio::select! {
                    biased;
                    _ = &mut connection => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/status") => {
                let status =
                    LabStatus::new(self.pid, &self.controller.borrow(), self.programs.all());
                json(StatusCode::OK, &status)
            }
            (&Method::GET, "/served") => {
                let Some(query) = ServedQuery::parse(request.uri().query().unwrap_or_default())
                else {
                    return text(
                        StatusCode::BAD_REQUEST,
                        "proto=tcp|udp and peer=ADDR:PORT\n",
                    );
                };
                let found = self
                    .served
                    .find(query.proto, query.peer, query.patience)
                    .await;
                match found {
                    Some(served) => json(StatusCode::OK, &served),
                    None => text(StatusCode::NOT_FOUND, "nobody served this caller\n"),
                }
            }
            (&Method::POST, "/shutdown") => {
                self.shutdown.cancel();
                text(StatusCode::ACCEPTED, "ending\n")
            }
            _ => text(StatusCode::NOT_FOUND, "no such thing\n"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct ServedQuery {
    proto: Transport,
    peer: SocketAddr,
    patience: Duration,
}

impl ServedQuery {
    fn parse(query: &str) -> Option<Self> {
        let (mut proto, mut peer, mut patience) = (None, None, Duration::ZERO);
        for pair in query.split('&') {
            match pair.split_once('=')? {
                ("proto", "tcp") => proto = Some(Transport::Tcp),
                ("proto", "udp") => proto = Some(Transport::Udp),
                ("peer", address) => peer = Some(address.parse().ok()?),
                ("wait", millis) => patience = Duration::from_millis(millis.parse().ok()?),
                _ => return None,
            }
        }
        Some(Self {
            proto: proto?,
            peer: peer?,
            patience: patience.min(PATIENCE_MAX),
        })
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response
}

/// The other end of the socket.
#[derive(Clone, Debug)]
pub struct ControlClient {
    http: ApiClient,
}

impl ControlClient {
    /// The control socket of a lab.
    pub fn new(dir: &LabDir) -> Self {
        Self {
            http: ApiClient::unix(&dir.control_socket()),
        }
    }

    /// How the lab is doing.
    ///
    /// # Errors
    /// [`ClientError`] when the data plane does not answer.
    pub async fn status(&self) -> Result<LabStatus, ClientError> {
        let answer = self.http.get("/status").await?;
        parse(&answer)
    }

    /// Which host served a caller; waits up to `patience` for its responder to notice.
    ///
    /// # Errors
    /// [`ClientError`] when the data plane does not answer.
    pub async fn served(
        &self,
        proto: Transport,
        peer: SocketAddr,
        patience: Duration,
    ) -> Result<Option<Served>, ClientError> {
        let proto = match proto {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        let wait = patience.as_millis();
        let answer = self
            .http
            .get(&format!("/served?proto={proto}&peer={peer}&wait={wait}"))
            .await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        parse(&answer).map(Some)
    }

    /// Asks the lab to end.
    ///
    /// # Errors
    /// [`ClientError`] when the data plane does not answer.
    pub async fn shutdown(&self) -> Result<(), ClientError> {
        self.http
            .request(Method::POST, "/shutdown", &[], None)
            .await
            .map(|_| ())
    }
}

fn parse<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, ClientError> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| ClientError::Request(format!("{}: {error}", answer.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_complete_or_refused() {
        let query = ServedQuery::parse("proto=udp&peer=10.0.0.1:53&wait=100").unwrap();
        assert_eq!(query.proto, Transport::Udp);
        assert_eq!(query.patience, Duration::from_millis(100));
        for wrong in [
            "",
            "proto=udp",
            "proto=x&peer=10.0.0.1:53",
            "peer=a&proto=tcp",
        ] {
            assert!(ServedQuery::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_socket_tells_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let dir = LabDir::under(folder.path(), "lab").unwrap();
        std::fs::create_dir(dir.path()).unwrap();
        let listener = UnixListener::bind(dir.control_socket()).unwrap();
        let (state, controller) = watch::channel(ControllerState::default());
        let control = Control {
            pid: 7,
            programs: Programs::default(),
            controller,
            served: Register::default(),
            shutdown: CancellationToken::new(),
        };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(control.clone().serve(listener, tasks.clone(), stop.clone()));
        let client = ControlClient::new(&dir);
        assert_eq!(client.status().await.unwrap().phase, Phase::Starting);
        state.send_modify(|state| {
            state.is_ready = true;
            state.pid = Some(9);
        });
        let status = client.status().await.unwrap();
        assert_eq!(status.phase, Phase::Ready);
        assert_eq!(status.processes.len(), 2);
        let peer = "10.0.0.1:80".parse().unwrap();
        let nobody = client.served(Transport::Tcp, peer, Duration::ZERO).await;
        assert_eq!(nobody.unwrap(), None);
        client.shutdown().await.unwrap();
        assert!(control.shutdown.is_cancelled());
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
