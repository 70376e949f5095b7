//! `weft.node.v1` `Capture`: what passes a port, as a stream.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::Stream;
use tonic::Status;
use weft_proto::node::v1 as node;
use weft_proto::vocab::{DeviceId, PortNo};

use super::node::address;
use crate::capture::{Capture, CaptureFilter, Captured, Direction};
use crate::host::{Endpoint, HostError, Shared};
use crate::packet::Pool;

/// Bytes of frames in one message; the last frame may exceed it, so that a message stays well below 4 MiB.
const MESSAGE_BYTES: usize = 256 * 1024;

/// A capture that ends when it is dropped.
struct Watch {
    shared: Arc<Shared>,
    id: u64,
    capture: Arc<Capture>,
    pool: Pool,
    /// The host's start in nanoseconds since 1970.
    start_ns: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.remove_capture(self.id);
    }
}

/// Watches a port; every worker does when this returns.
pub(super) async fn capture(
    shared: &Arc<Shared>,
    request: node::CaptureRequest,
) -> Result<impl Stream<Item = Result<node::CapturedFrames, Status>> + Send + use<>, Status> {
    let port = request
        .port
        .ok_or_else(|| Status::invalid_argument("the port is missing"))?;
    let at = Endpoint {
        device: DeviceId(port.device_id),
        port: PortNo(port.port),
    };
    let medium = shared.topology().port(at).map(|port| port.spec.medium);
    let Some(medium) = medium else {
        let Endpoint { device, port } = at;
        return Err(HostError::UnknownPort { device, port }.into());
    };
    let filter = filter(&request.filter.unwrap_or_default())?;
    let capture = Arc::new(Capture::new(at, medium, filter));
    let (id, pending) = shared.add_capture(Arc::clone(&capture))?;
    let watch = Watch {
        shared: Arc::clone(shared),
        id,
        capture,
        pool: Pool::default(),
        start_ns: start_ns(shared),
    };
    pending.wait().await?;
    tracing::info!(dpid = at.device.0, port = at.port.0, "capture begins");
    Ok(futures_util::stream::unfold(watch, |mut watch| async {
        let message = watch.next().await;
        Some((Ok(message), watch))
    }))
}

impl Watch {
    async fn next(&mut self) -> node::CapturedFrames {
        let taken = self.capture.take(MESSAGE_BYTES).await;
        let mut frames = Vec::with_capacity(taken.frames.len());
        for captured in taken.frames {
            let time_ns = self.start_ns.saturating_add(captured.at.0);
            let direction = direction(&captured);
            for frame in captured.wire_frames(self.capture.medium(), &mut self.pool) {
                frames.push(node::CapturedFrame {
                    time_ns,
                    direction: direction.into(),
                    frame: frame.into(),
                });
            }
        }
        node::CapturedFrames {
            frames,
            dropped: taken.dropped,
        }
    }
}

fn direction(captured: &Captured) -> node::captured_frame::Direction {
    match captured.direction {
        Direction::Inbound => node::captured_frame::Direction::Inbound,
        Direction::Outbound => node::captured_frame::Direction::Outbound,
    }
}

fn filter(filter: &node::CaptureFilter) -> Result<CaptureFilter, Status> {
    fn number<T: TryFrom<u32>>(value: u32, what: &str) -> Result<Option<T>, Status> {
        match value {
            0 => Ok(None),
            value => T::try_from(value)
                .map(Some)
                .map_err(|_| Status::invalid_argument(format!("{what} {value} does not exist"))),
        }
    }
    Ok(CaptureFilter {
        host: address(&filter.host)?,
        port: number(filter.port, "port")?,
        ip_proto: number(filter.ip_proto, "ip_proto")?,
        ether_type: number(filter.ether_type, "ether_type")?,
    })
}

/// When the host has started, in nanoseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "a driver: captures are compared with what other programs saw"
)]
fn start_ns(shared: &Shared) -> u64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos());
    u64::try_from(now)
        .unwrap_or(u64::MAX)
        .saturating_sub(shared.now().0)
}
