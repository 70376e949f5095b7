//! What is expected of a probe.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::quantity::{BitsPerSec, Percent, TimeSpan};
use crate::spec::OneOrMany;

/// What must hold for a case to pass. Each key fits some of the probes only.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// Largest share of lost packets.
    pub loss: Option<Percent>,
    /// Bounds on round-trip times.
    pub rtt: Option<RttExpect>,
    /// How connecting ends.
    pub connect: Option<Connect>,
    /// What is answered, whole.
    pub reply: Option<String>,
    /// Bounds on the payload that a bulk transfer brings over, all connections of a case together.
    pub throughput: Option<ThroughputExpect>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// Longest time for the whole exchange.
    pub within: Option<TimeSpan>,
    /// A part of the HTTP body.
    pub body_contains: Option<String>,
    /// HTTP headers by name, each with its whole value.
    pub header: Option<BTreeMap<String, String>>,
    /// The IPv4 addresses that DNS gives, all of them in any order; `[]` for none.
    pub a: Option<OneOrMany<Ipv4Addr>>,
    /// The IPv6 addresses that DNS gives, all of them in any order; `[]` for none.
    pub aaaa: Option<OneOrMany<Ipv6Addr>>,
    /// Names that the DNS answer leads over.
    pub cname: Option<OneOrMany<String>>,
    /// The DNS response code; `NOERROR` where it is left out.
    pub rcode: Option<Rcode>,
    /// The program's exit status, 128 and the number where a signal ended it; 0 where it is left out.
    pub exit: Option<u8>,
    /// A regular expression that fits a part of the program's standard output; `^` and `$` are ends of lines.
    pub stdout_matches: Option<String>,
    /// The host whose built-in responder answered.
    pub served_by: Option<OneOrMany<String>>,
    /// The nodes that packets crossed.
    pub path: Option<PathExpect>,
    /// How flows spread over nodes or links.
    pub spread: Option<SpreadExpect>,
}

/// Bounds on round-trip times.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RttExpect {
    /// The fastest is not faster.
    pub min: Option<TimeSpan>,
    /// The slowest is not slower.
    pub max: Option<TimeSpan>,
    /// 99 of 100 are not slower.
    pub p99: Option<TimeSpan>,
}

/// Bounds on a bulk transfer. What a machine can do bounds it too, so a least value should leave room.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ThroughputExpect {
    /// It is not slower.
    pub min: Option<BitsPerSec>,
    /// It is not faster.
    pub max: Option<BitsPerSec>,
}

/// How connecting ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
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

impl Connect {
    /// Its word in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Never => "never",
        }
    }
}

/// A DNS response code, by the names of its registry (RFC 6895).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Rcode {
    /// No error; there may be no record of the type that was asked for.
    NoError,
    /// The query cannot be read.
    FormErr,
    /// The server failed.
    ServFail,
    /// The name does not exist.
    NXDomain,
    /// The server does not do that.
    NotImp,
    /// The server does not want to.
    Refused,
}

impl Rcode {
    /// Its number.
    pub fn number(self) -> u16 {
        match self {
            Self::NoError => 0,
            Self::FormErr => 1,
            Self::ServFail => 2,
            Self::NXDomain => 3,
            Self::NotImp => 4,
            Self::Refused => 5,
        }
    }
}

/// The nodes that packets crossed, from the sender to the receiver, both included.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathExpect {
    /// Exactly these.
    pub exact: Option<Vec<String>>,
    /// One of these.
    #[serde(default)]
    pub any_of: Vec<Vec<String>>,
    /// Each of these names or globs.
    #[serde(default)]
    pub through: OneOrMany<String>,
    /// None of these names or globs.
    #[serde(default)]
    pub not_through: OneOrMany<String>,
    /// At most this many switches.
    pub max_hops: Option<u32>,
}

/// How the flows of a test, all pairs together, spread.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpreadExpect {
    /// Names or globs of nodes, or links (`node:interface` too), each counted by itself.
    pub over: OneOrMany<String>,
    /// Each carries at least this share of the flows.
    pub min_share: Percent,
}
