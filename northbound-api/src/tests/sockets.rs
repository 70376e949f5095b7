//! The API on real sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::lab::{Lab, SOON, TOKEN};
use crate::{ServeConfig, serve};

async fn exchange<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A server that refuses early may reset what it did not read.
    let _ = tokio::time::timeout(SOON, read)
        .await
        .expect("an answer in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn tcp_wants_the_token_and_the_unix_socket_does_not() {
    let lab = Lab::without_switches().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let config = ServeConfig {
        tcp,
        unix: Some(UnixListener::bind(&path).unwrap()),
        token: TOKEN.to_owned(),
    };
    let end = CancellationToken::new();
    let server = tokio::spawn(serve(lab.handle.clone(), config, end.clone()));
    let get = |header: &str| {
        format!("GET /v1/topology HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n")
    };
    let tcp = || TcpStream::connect(address);

    let answer = exchange(tcp().await.unwrap(), &get("")).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    let answer = exchange(tcp().await.unwrap(), &get(&bearer)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let unix = UnixStream::connect(&path).await.unwrap();
    let answer = exchange(unix, &get("")).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"chain\""),
        "{answer}"
    );

    let huge = format!("x-filler: {}\r\n", "x".repeat(128 * 1024));
    let answer = exchange(tcp().await.unwrap(), &get(&huge)).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = exchange(tcp().await.unwrap(), "nonsense\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");

    // An idle connection does not hold up the end.
    let idle = tcp().await.unwrap();
    end.cancel();
    tokio::time::timeout(Duration::from_secs(10), server)
        .await
        .expect("it ends")
        .unwrap()
        .unwrap();
    drop(idle);
}
