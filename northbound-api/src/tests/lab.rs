//! A controller with its switches, and requests to its API without sockets.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;
use tower::ServiceExt;
use weft_controller::controller::{Config, start};
use weft_controller::handle::Handle;
use weft_controller::load;
use weft_controller::model::{Model, Peer};
use weft_controller::southbound::{self, PipelineConfig};
use weft_controller::status::DataplaneAddress;
use weft_controller::store::MemoryStore;
use weft_proto::vocab::{DeviceId, PortNo};
use weft_switch::host::{
    Config as HostConfig, Endpoint, LinkSpec, PortSpec, SwitchHost, SwitchSpec,
};
use weft_switch::port::MemoryPort;
use weft_switch::ports::Medium;
use weft_switch::program::Program;

use crate::auth::Access;
use crate::router;

/// Three switches in a chain without a fabric; `s2` has a label.
pub(super) const CHAIN: &str = r#"
name: chain
topology:
  nodes:
    s1: { kind: switch }
    s2: { kind: switch, labels: { tier: core } }
    s3: { kind: switch }
    left: { kind: host, ip: 10.9.0.1/24 }
    mid: { kind: host, ip: 10.9.0.3/24 }
    right: { kind: host, ip: 10.9.0.2/24 }
  links:
    - endpoints: ["left:eth0", "s1:host"]
    - endpoints: ["s1:east", "s2:west"]
    - { name: last, endpoints: ["s2:east", "s3:west"] }
    - endpoints: ["right:eth0", "s3:host"]
    - endpoints: ["mid:eth0", "s2:host"]
controller: { fabric: none }
"#;

/// The longest that anything here may take.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// The token of the lab's TCP listener.
pub(super) const TOKEN: &str = "s3cret";

pub(super) struct Lab {
    pub(super) handle: Handle,
    host: Option<SwitchHost>,
    channel: Channel,
    open: Router,
    _end: DropGuard,
    _dir: TempDir,
}

impl Lab {
    /// Starts it and waits until every switch is programmed.
    pub(super) async fn up() -> Self {
        let lab = Self::start(true).await;
        let mut ready = lab.handle.ready();
        tokio::time::timeout(SOON, ready.wait_for(|ready| *ready))
            .await
            .expect("ready in time")
            .expect("the controller runs");
        lab
    }

    /// Starts a controller whose switches are away.
    pub(super) async fn without_switches() -> Self {
        Self::start(false).await
    }

    async fn start(with_switches: bool) -> Self {
        let model = load::model(CHAIN.as_bytes(), "chain.yaml", None).expect("the file is right");
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("p4rt.sock");
        let cancel = CancellationToken::new();
        let host = with_switches.then(|| {
            let host = SwitchHost::start(host_config(&model)).unwrap();
            let listener = UnixListener::bind(&socket).unwrap();
            tokio::spawn(host.serve_unix(listener, cancel.clone()));
            host
        });
        let pipeline = weft_switch::fabric::pipeline();
        let device_config = serde_json::to_vec(&pipeline).unwrap().into();
        let program = Program::new(pipeline).unwrap();
        let channel = southbound::unix(&socket);
        let config = Config {
            model: Arc::new(model),
            pipeline: PipelineConfig {
                p4info: program.p4info().clone(),
                device_config,
                cookie: 7,
            },
            store: Arc::new(MemoryStore::new()),
            southbound: southbound::unix(&socket),
            address: DataplaneAddress::Unix(socket),
            cancel: cancel.clone(),
        };
        let (handle, _task) = start(config).await.unwrap();
        Self {
            open: router(handle.clone(), Access::Open),
            handle,
            host,
            channel,
            _end: cancel.drop_guard(),
            _dir: dir,
        }
    }

    /// A router that wants the token.
    pub(super) fn guarded(&self) -> Router {
        router(self.handle.clone(), Access::Token(TOKEN.to_owned()))
    }

    /// One request, as over the Unix socket.
    pub(super) async fn send(&self, request: Request<Body>) -> Reply {
        reply(self.open.clone(), request).await
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path, &[], None)).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Reply {
        self.put_with(path, &[], body).await
    }

    pub(super) async fn put_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Reply {
        self.send(request("PUT", path, headers, Some(body))).await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send(request("PATCH", path, &[], Some(body))).await
    }

    pub(super) async fn delete(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(request("DELETE", path, headers, None)).await
    }

    /// A connection to the switches.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Puts a pair of queues where a switch's host would be.
    pub(super) fn attach(&self, switch: &str) -> MemoryPort {
        let device = DeviceId(self.handle.switch(switch).unwrap().device_id);
        let ports = self.handle.ports(switch).unwrap();
        let port = ports.iter().find(|port| port.name == "host").unwrap();
        let at = Endpoint {
            device,
            port: PortNo(port.number),
        };
        self.host.as_ref().unwrap().attach_memory(at).unwrap()
    }

    /// Entries written to a switch so far.
    pub(super) fn writes(&self, switch: &str) -> u64 {
        self.handle.metrics().switches[switch].totals.writes
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(host) = self.host.take() {
            host.shutdown();
        }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts the status and gives the body.
    #[track_caller]
    pub(super) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Asserts a problem document and gives it without its trace id.
    #[track_caller]
    pub(super) fn problem(&self, status: u16) -> Value {
        let mut problem = self.is(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], status);
        let trace_id = problem["traceId"].take();
        assert_eq!(trace_id.as_str().map(str::len), Some(32), "{trace_id}");
        problem.as_object_mut().unwrap().remove("traceId");
        problem
    }
}

pub(super) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    if body.is_some() {
        builder = builder.header("content-type", "application/json");
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let body = body.map_or_else(Body::empty, |body| body.to_string().into());
    builder.body(body).unwrap()
}

pub(super) async fn reply(router: Router, request: Request<Body>) -> Reply {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Reply {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

fn host_config(model: &Model) -> HostConfig {
    let switches = model.switches.values().map(|switch| SwitchSpec {
        name: switch.name.clone(),
        device_id: switch.device_id,
        ports: (switch.ports.iter())
            .map(|(number, port)| PortSpec {
                number: *number,
                name: port.name.clone(),
                mtu: port.mtu,
                medium: Medium::L2,
            })
            .collect(),
    });
    let mut links = Vec::new();
    for switch in model.switches.values() {
        for (number, port) in &switch.ports {
            let a = Endpoint {
                device: switch.device_id,
                port: *number,
            };
            let b = match &port.peer {
                Peer::Host { .. } => None,
                Peer::Switch { switch, port } => Some(Endpoint {
                    device: model.switches[switch].device_id,
                    port: *port,
                }),
            };
            // A link between switches is met from both ends.
            if b.is_none_or(|b| a < b) {
                links.push(LinkSpec {
                    name: port.link.clone(),
                    a,
                    b,
                });
            }
        }
    }
    HostConfig {
        switches: switches.collect(),
        links,
        ..HostConfig::default()
    }
}
