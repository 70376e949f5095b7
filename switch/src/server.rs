//! The southbound services: P4Runtime v1 for each switch, and `weft.node.v1` for the process.
//!
//! Each file is one part of the P4Runtime specification; this one puts them together and serves them.

pub(crate) mod arbitration;
mod authority;
mod capture;
mod config;
mod idle;
mod node;
mod read;
mod stream;
mod trace;
mod write;

pub(crate) use authority::Tolerant;
pub(crate) use config::Programs;
pub(crate) use idle::IdleWatch;
pub(crate) use node::{announce_link, announce_port};
pub use write::apply_updates;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use weft_proto::node::v1::node_server::NodeServer;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::p4_runtime_server::{P4Runtime, P4RuntimeServer};

use crate::host::Shared;
use crate::worker::{PacketOutError, Stopped};

/// Largest message that is accepted: pipelines and large batches.
const MAX_MESSAGE: usize = 64 << 20;
/// Streams and calls at once on one connection; a controller has several for each of its switches.
const MAX_CALLS: u32 = 16_384;
/// The version of the specification that is served.
const API_VERSION: &str = "1.5.0";

/// Serves both services on `connections` until `stop` is cancelled.
pub(crate) async fn serve<S, C>(
    shared: Arc<Shared>,
    connections: S,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error>
where
    S: Stream<Item = std::io::Result<C>>,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let target = Target {
        shared,
        stop: stop.clone(),
    };
    let services = Services {
        p4runtime: P4RuntimeServer::new(target.clone()).max_decoding_message_size(MAX_MESSAGE),
        node: NodeServer::new(target),
    };
    Server::builder()
        .max_concurrent_streams(MAX_CALLS)
        .serve_with_incoming_shutdown(services, connections, stop.cancelled_owned())
        .await
}

/// What answers the calls.
#[derive(Clone, Debug)]
struct Target {
    shared: Arc<Shared>,
    /// Ends the streams, so that their connections can close.
    stop: CancellationToken,
}

/// Both services, told apart by the path of the call.
#[derive(Clone, Debug)]
struct Services {
    p4runtime: P4RuntimeServer<Target>,
    node: NodeServer<Target>,
}

impl Service<http::Request<Body>> for Services {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Neither service has back-pressure of its own.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path().starts_with("/weft.node.v1.Node/") {
            true => self.node.call(request),
            false => self.p4runtime.call(request),
        }
    }
}

impl From<Stopped> for Status {
    fn from(_: Stopped) -> Self {
        Self::unavailable("the switches have stopped")
    }
}

impl From<PacketOutError> for Status {
    fn from(error: PacketOutError) -> Self {
        match error {
            PacketOutError::Busy => Self::resource_exhausted("too many packets wait already"),
            PacketOutError::Stopped => Stopped.into(),
        }
    }
}

#[tonic::async_trait]
impl P4Runtime for Target {
    async fn write(
        &self,
        request: Request<wire::WriteRequest>,
    ) -> Result<Response<wire::WriteResponse>, Status> {
        write::write(&self.shared, request.into_inner()).await?;
        Ok(Response::new(wire::WriteResponse {}))
    }

    type ReadStream = BoxStream<'static, Result<wire::ReadResponse, Status>>;

    async fn read(
        &self,
        request: Request<wire::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let answer = read::read(&self.shared, request.get_ref())?;
        let end = answer.error.map(Err);
        let responses = answer.responses.into_iter().map(Ok).chain(end);
        Ok(Response::new(Box::pin(futures_util::stream::iter(
            responses,
        ))))
    }

    async fn set_forwarding_pipeline_config(
        &self,
        request: Request<wire::SetForwardingPipelineConfigRequest>,
    ) -> Result<Response<wire::SetForwardingPipelineConfigResponse>, Status> {
        config::set(&self.shared, request.into_inner()).await?;
        Ok(Response::new(wire::SetForwardingPipelineConfigResponse {}))
    }

    async fn get_forwarding_pipeline_config(
        &self,
        request: Request<wire::GetForwardingPipelineConfigRequest>,
    ) -> Result<Response<wire::GetForwardingPipelineConfigResponse>, Status> {
        config::get(&self.shared, request.get_ref()).map(Response::new)
    }

    type StreamChannelStream = BoxStream<'static, Result<wire::StreamMessageResponse, Status>>;

    async fn stream_channel(
        &self,
        request: Request<Streaming<wire::StreamMessageRequest>>,
    ) -> Result<Response<Self::StreamChannelStream>, Status> {
        let shared = Arc::clone(&self.shared);
        let session = stream::session(shared, request.into_inner(), self.stop.clone());
        Ok(Response::new(Box::pin(session)))
    }

    async fn capabilities(
        &self,
        _: Request<wire::CapabilitiesRequest>,
    ) -> Result<Response<wire::CapabilitiesResponse>, Status> {
        Ok(Response::new(wire::CapabilitiesResponse {
            p4runtime_api_version: API_VERSION.to_owned(),
            ..wire::CapabilitiesResponse::default()
        }))
    }
}
