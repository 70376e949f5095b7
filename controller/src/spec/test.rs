//! Tests: a probe, and what is expected of it.

use serde::{Deserialize, Serialize};

use super::OneOrMany;
use crate::quantity::{Percent, TimeSpan};

/// One test: exactly one probe, expanded to one case for each pair of `from` and `to`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestSpec {
    /// Its name, with which the names of its cases begin.
    pub name: String,
    /// ICMP echo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping: Option<PingProbe>,
    /// TCP connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<StreamProbe>,
    /// UDP datagrams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<StreamProbe>,
    /// HTTP requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// What must hold.
    #[serde(default)]
    pub expect: Expect,
    /// Retries until what is expected holds, this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eventually: Option<TimeSpan>,
    /// Where it runs; everywhere where it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modes: Vec<Mode>,
    /// By which it can be selected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// A way to run a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Real packets.
    Kernel,
    /// Virtual time.
    Sim,
}

/// ICMP echo requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PingProbe {
    /// Names or globs of hosts.
    pub from: OneOrMany<String>,
    /// Names or globs of hosts, or addresses.
    pub to: OneOrMany<String>,
    /// How many; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Time from one to the next; 100 ms by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<TimeSpan>,
    /// How long to wait for an answer; 1 s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TimeSpan>,
}

/// TCP connections or UDP datagrams.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamProbe {
    /// Names or globs of hosts.
    pub from: OneOrMany<String>,
    /// `host:port`, where the host is a name, a glob or an address.
    pub to: OneOrMany<String>,
    /// How many connections or datagrams, each from its own port; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Time from one to the next; none by default for TCP, 10 ms for UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<TimeSpan>,
    /// How long to wait for an answer; 1 s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TimeSpan>,
}

/// HTTP requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    /// Names or globs of hosts.
    pub from: OneOrMany<String>,
    /// `http://HOST[:PORT]/PATH`, where the host is a name, a glob or an address.
    pub url: String,
    /// How many; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Time from one to the next; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<TimeSpan>,
    /// How long to wait for the whole answer; 1 s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TimeSpan>,
}

/// What must hold for a case to pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expect {
    /// Largest share of lost packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Percent>,
    /// Bounds on round-trip times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<RttExpect>,
    /// How connecting ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// What is answered, whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Longest time for the whole exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<TimeSpan>,
    /// A part of the HTTP body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<String>,
    /// The host whose built-in responder answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_by: Option<OneOrMany<String>>,
    /// The nodes that packets crossed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathExpect>,
    /// How flows spread over nodes or links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<SpreadExpect>,
}

/// Bounds on round-trip times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RttExpect {
    /// The fastest is not faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<TimeSpan>,
    /// The slowest is not slower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<TimeSpan>,
    /// 99 of 100 are not slower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<TimeSpan>,
}

/// How connecting ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Connect {
    /// It is accepted.
    Ok,
    /// It is refused.
    Refused,
    /// Nobody answers.
    Timeout,
    /// Nobody answers, and no packet reaches the target's interface.
    Never,
}

/// The nodes that packets crossed, from the sender to the receiver, both included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PathExpect {
    /// Exactly these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<Vec<String>>,
    /// One of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<Vec<String>>,
    /// Each of these names or globs.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub through: OneOrMany<String>,
    /// None of these names or globs.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub not_through: OneOrMany<String>,
    /// At most this many switches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_hops: Option<u32>,
}

/// How the flows of a test, all pairs together, spread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpreadExpect {
    /// Names or globs of nodes, or links (`node:interface` too), each counted by itself.
    pub over: OneOrMany<String>,
    /// Each carries at least this share of the flows.
    pub min_share: Percent,
}

/// The parts of an `http` URL that a probe needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// A name, a glob or an address.
    pub host: String,
    /// The port, 80 where it is left out.
    pub port: u16,
    /// Path and query, with the slash.
    pub path: String,
}

impl Url {
    /// Reads `http://HOST[:PORT][/PATH]`; `None` where the text is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let (authority, path) = rest
            .find('/')
            .map_or((rest, "/"), |slash| rest.split_at(slash));
        let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[after_brackets..].rfind(':') {
            Some(colon) => {
                let (host, port) = authority.split_at(after_brackets + colon);
                (host, port[1..].parse().ok().filter(|port| *port > 0)?)
            }
            None => (authority, 80),
        };
        let is_text = |text: &str| text.chars().all(|c| !c.is_control() && c != ' ');
        (!host.is_empty() && is_text(host) && is_text(path)).then(|| Self {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }
}
