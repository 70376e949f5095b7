//! Tests: a probe, and what is expected of it.

mod expect;

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::expect::{
    Connect, Expect, PathExpect, Rcode, RttExpect, SpreadExpect, ThroughputExpect,
};
use super::{OneOrMany, exactly_one_of};
use crate::quantity::TimeSpan;

/// One test: exactly one probe, expanded to one case for each pair of `from` and `to`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = exactly_one_of(&ProbeSpec::KEYS)))]
pub struct TestSpec {
    /// Its name, with which the names of its cases begin.
    pub name: String,
    /// ICMP echo.
    pub ping: Option<PingProbe>,
    /// TCP connections.
    pub tcp: Option<StreamProbe>,
    /// UDP datagrams.
    pub udp: Option<StreamProbe>,
    /// HTTP requests.
    pub http: Option<HttpProbe>,
    /// DNS queries.
    pub dns: Option<DnsProbe>,
    /// A program in a host.
    pub exec: Option<ExecProbe>,
    /// What must hold.
    #[serde(default)]
    pub expect: Expect,
    /// Retries until what is expected holds, this long.
    pub eventually: Option<TimeSpan>,
    /// Where it runs; everywhere where it is left out.
    #[serde(default)]
    pub modes: Vec<Mode>,
    /// By which it can be selected.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// The one probe of a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ProbeSpec<'a> {
    /// ICMP echo.
    Ping(&'a PingProbe),
    /// TCP connections.
    Tcp(&'a StreamProbe),
    /// UDP datagrams.
    Udp(&'a StreamProbe),
    /// HTTP requests.
    Http(&'a HttpProbe),
    /// DNS queries.
    Dns(&'a DnsProbe),
    /// A program in a host.
    Exec(&'a ExecProbe),
}

impl ProbeSpec<'_> {
    /// The keys of all probes.
    pub const KEYS: [&'static str; 6] = ["ping", "tcp", "udp", "http", "dns", "exec"];

    /// Its key in a test.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Ping(_) => "ping",
            Self::Tcp(_) => "tcp",
            Self::Udp(_) => "udp",
            Self::Http(_) => "http",
            Self::Dns(_) => "dns",
            Self::Exec(_) => "exec",
        }
    }
}

impl TestSpec {
    /// All probes that stand there; a test that can be run has one.
    pub fn probes(&self) -> Vec<ProbeSpec<'_>> {
        let Self {
            name: _,
            ping,
            tcp,
            udp,
            http,
            dns,
            exec,
            expect: _,
            eventually: _,
            modes: _,
            tags: _,
        } = self;
        let found = [
            ping.as_ref().map(ProbeSpec::Ping),
            tcp.as_ref().map(ProbeSpec::Tcp),
            udp.as_ref().map(ProbeSpec::Udp),
            http.as_ref().map(ProbeSpec::Http),
            dns.as_ref().map(ProbeSpec::Dns),
            exec.as_ref().map(ProbeSpec::Exec),
        ];
        found.into_iter().flatten().collect()
    }
}

/// A way to run a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Real packets.
    Kernel,
    /// Virtual time.
    Sim,
}

/// ICMP echo requests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PingProbe {
    /// Names or globs of hosts.
    pub from: OneOrMany<String>,
    /// Names or globs of hosts, or addresses.
    pub to: OneOrMany<String>,
    /// How many; 1 by default.
    pub count: Option<u32>,
    /// Time from one to the next; 100 ms by default.
    pub interval: Option<TimeSpan>,
    /// How long to wait for an answer; 1 s by default.
    pub timeout: Option<TimeSpan>,
}

/// TCP connections or UDP datagrams.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamProbe {
    /// Names or globs of hosts.
    pub from: OneOrMany<String>,
    /// `host:port`, where the host is a name, a glob or an address.
    pub to: OneOrMany<String>,
    /// How many connections or datagrams, each from its own port; 1 by default.
    pub count: Option<u32>,
    /// Time from one to the next; none by default for TCP, 10 ms for UDP.
    pub interval: Option<TimeSpan>,
    /// How long to wait for an answer; 1 s by default.
    pub timeout: Option<TimeSpan>,
    /// How long each connection sends as fast as it can, where `throughput` is expected; 1 s by default.
    pub duration: Option<TimeSpan>,
}

/// HTTP requests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    /// Names or globs of hosts.
    pub from: OneOrMany<String>,
    /// `http://HOST[:PORT]/PATH`, where the host is a name, a glob or an address.
    pub url: String,
    /// How many; 1 by default.
    pub count: Option<u32>,
    /// Time from one to the next; none by default.
    pub interval: Option<TimeSpan>,
    /// How long to wait for the whole answer; 1 s by default.
    pub timeout: Option<TimeSpan>,
}

/// DNS queries (RFC 1035) by UDP, again by TCP where the answer was cut off.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsProbe {
    /// Names or globs of hosts.
    pub from: OneOrMany<String>,
    /// Whom to ask, `host` or `host:port`, where the host is a name, a glob or an address.
    pub server: Option<String>,
    /// The name to look up.
    pub name: String,
    /// The type of records; what is expected decides where it is left out, else `A`.
    pub r#type: Option<RecordType>,
    /// How many; 1 by default.
    pub count: Option<u32>,
    /// Time from one to the next; none by default.
    pub interval: Option<TimeSpan>,
    /// How long to wait for the answer; 1 s by default.
    pub timeout: Option<TimeSpan>,
}

/// A type of DNS records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are those of the registry")]
pub enum RecordType {
    A,
    Aaaa,
    Cname,
    Mx,
    Ns,
    Ptr,
    Soa,
    Srv,
    Txt,
}

/// A program that is run in a host to its end.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecProbe {
    /// Names or globs of hosts.
    pub from: OneOrMany<String>,
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// Added to its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Its working directory; the file's by default.
    pub cwd: Option<String>,
    /// When it is killed with everything that it started; `expect.within` by default, else 60 s.
    pub timeout: Option<TimeSpan>,
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
        let (host, port) = split_port(authority)?;
        let is_text = |text: &str| text.chars().all(|c| !c.is_control() && c != ' ');
        (is_text(host) && is_text(path)).then(|| Self {
            host: host.to_owned(),
            port: port.unwrap_or(80),
            path: path.to_owned(),
        })
    }
}

/// Splits `HOST[:PORT]`; an IPv6 address with a port stands in brackets. `None` where host or port are none.
pub fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if text.parse::<IpAddr>().is_ok() {
        return Some((text, None));
    }
    let after_brackets = text.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match text[after_brackets..].rfind(':') {
        Some(colon) => {
            let (host, port) = text.split_at(after_brackets + colon);
            (host, Some(port[1..].parse().ok().filter(|port| *port > 0)?))
        }
        None => (text, None),
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, expected) in [
            ("web", Some(("web", None))),
            ("web:53", Some(("web", Some(53)))),
            ("h[1-2]:53", Some(("h[1-2]", Some(53)))),
            ("10.0.0.1:5", Some(("10.0.0.1", Some(5)))),
            ("fd00::1", Some(("fd00::1", None))),
            ("[fd00::1]:53", Some(("[fd00::1]", Some(53)))),
            ("web:0", None),
            ("web:x", None),
            (":53", None),
            ("", None),
        ] {
            assert_eq!(split_port(text), expected, "{text}");
        }
    }
}
