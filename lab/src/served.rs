//! Who answered: the built-in responders write down each caller, so that a test can ask which host served it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// Most records that are kept; the oldest go first.
const RECORDS_MAX: usize = 65_536;

/// How a caller came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A connection.
    Tcp,
    /// A datagram.
    Udp,
}

/// One caller, as the responder saw him.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// TCP or UDP; HTTP is TCP.
    pub proto: Transport,
    /// The caller's address and port.
    pub peer: SocketAddr,
    /// The host that answered.
    pub host: String,
    /// The port it answered on.
    pub port: u16,
}

/// The records of all responders of a lab. A clone is the same register.
#[derive(Clone, Debug, Default)]
pub struct Register {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    records: Mutex<VecDeque<Served>>,
    added: Notify,
}

impl Register {
    /// Writes a caller down.
    pub fn add(&self, served: Served) {
        {
            let mut records = self
                .shared
                .records
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if records.len() == RECORDS_MAX {
                records.pop_front();
            }
            records.push_back(served);
        }
        self.shared.added.notify_waiters();
    }

    /// The newest record of a caller; waits up to `patience` for one.
    pub async fn find(
        &self,
        proto: Transport,
        peer: SocketAddr,
        patience: Duration,
    ) -> Option<Served> {
        let search = async {
            loop {
                // Registered before looking, so that no record in between is missed.
                let added = self.shared.added.notified();
                tokio::pin!(added);
                added.as_mut().enable();
                if let Some(found) = self.look(proto, peer) {
                    return found;
                }
                added.await;
            }
        };
        tokio::time::timeout(patience, search).await.ok()
    }

    fn look(&self, proto: Transport, peer: SocketAddr) -> Option<Served> {
        let records = self
            .shared
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        records
            .iter()
            .rev()
            .find(|served| served.proto == proto && served.peer == peer)
            .cloned()
    }
}

/// An address without the IPv4-in-IPv6 form that a dual-stack socket reports.
pub fn plain(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_record_is_found_also_when_it_comes_late() {
        let register = Register::default();
        let peer: SocketAddr = "10.0.0.1:4711".parse().unwrap();
        let record = |host: &str| Served {
            proto: Transport::Tcp,
            peer,
            host: host.to_owned(),
            port: 80,
        };
        let late = tokio::join!(
            register.find(Transport::Tcp, peer, Duration::from_secs(5)),
            async { register.add(record("a")) }
        );
        assert_eq!(late.0.unwrap().host, "a");
        register.add(record("b"));
        let newest = register.find(Transport::Tcp, peer, Duration::ZERO).await;
        assert_eq!(newest.unwrap().host, "b");
        assert!(
            register
                .find(Transport::Udp, peer, Duration::ZERO)
                .await
                .is_none()
        );
    }
}
