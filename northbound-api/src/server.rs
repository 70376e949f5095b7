//! Listeners: connections in, requests to the router, an orderly end.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use weft_controller::handle::Handle;

use crate::app::router;
use crate::auth::Access;

/// Most bytes of a request's head.
const MAX_HEAD: usize = 64 * 1024;

/// Longest time in which a head has to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers a head that did not arrive in time.
const LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Most connections at once on one listener; the others wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;

/// How long requests may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(2);

/// Where the API listens.
#[derive(Debug)]
pub struct ServeConfig {
    /// Callers need the token.
    pub tcp: TcpListener,
    /// Callers need the right to open the socket.
    pub unix: Option<UnixListener>,
    /// The token.
    pub token: String,
}

/// Why the API ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listener broke.
    #[error("the listener broke")]
    Accept(#[source] io::Error),
}

/// Serves until `end` is cancelled.
///
/// # Errors
///
/// A listener that cannot accept any more.
pub async fn serve(
    handle: Handle,
    config: ServeConfig,
    end: CancellationToken,
) -> Result<(), ServeError> {
    let tcp = router(handle.clone(), Access::Token(config.token));
    let over_tcp = accept(
        || async {
            let (stream, _) = config.tcp.accept().await?;
            // Answers are small and should leave at once.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        },
        tcp,
        end.clone(),
    );
    let Some(socket) = config.unix else {
        return over_tcp.await;
    };
    let unix = router(handle, Access::Open);
    let over_unix = accept(
        || async { socket.accept().await.map(|(stream, _)| stream) },
        unix,
        end,
    );
    tokio::try_join!(over_tcp, over_unix)?;
    Ok(())
}

async fn accept<S, F>(
    mut next: impl FnMut() -> F,
    router: Router,
    end: CancellationToken,
) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Future<Output = io::Result<S>>,
{
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let slot = tokio::select! {
            biased;
            () = end.cancelled() => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let stream = tokio::select! {
            biased;
            () = end.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            stream = next() => stream,
        };
        match stream {
            Ok(stream) => {
                let connection = serve_connection(stream, router.clone(), end.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) if is_passing(&error) => {
                tracing::warn!(%error, "connection not accepted");
                // Out of descriptors: others have to end first.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(ServeError::Accept(error)),
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// Whether accepting may work again later.
fn is_passing(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::OutOfMemory
    ) || matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

async fn serve_connection<S>(stream: S, router: Router, end: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = router.map_request(|request: hyper::Request<Incoming>| request.map(Body::new));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let ended = tokio::select! {
        biased;
        result = poll_fn(|cx| connection.poll_without_shutdown(cx)) => result,
        () = end.cancelled() => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    let mut stream = connection.into_parts().io.into_inner();
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
        if error.is_timeout() {
            // Nobody may be there to read it.
            let _ = stream.write_all(LATE).await;
        }
    }
    let _ = stream.shutdown().await;
}
