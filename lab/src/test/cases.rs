//! From tests to cases: names and globs to pairs of hosts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use weft_controller::model::Model;
use weft_controller::names;
use weft_controller::quantity::TimeSpan;
use weft_controller::spec::test::{Url, split_port};
use weft_controller::spec::{
    DnsProbe, ExecProbe, Expect, HttpProbe, OneOrMany, PingProbe, ProbeSpec, RecordType,
    StreamProbe, TestSpec,
};

/// One probe, mostly between two ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The test's name and the pair.
    pub name: String,
    /// The test's name.
    pub test: String,
    /// The host that sends, or that runs the program.
    pub from: String,
    /// Who is probed, as the report shows it; empty where nobody is.
    pub to: String,
    /// What is done.
    pub probe: Probe,
    /// What must hold.
    pub expect: Expect,
    /// How long to retry until it holds.
    pub eventually: Option<Duration>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Packets from one end to another.
    Packets(Target, Packets),
    /// A program in the host.
    Exec(Program),
}

/// The ends of a probe's packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host that is probed; `None` for an address that no host of the lab has.
    pub host: Option<String>,
    /// The sender's address, in the family of the target's.
    pub source: IpAddr,
    /// The target's address.
    pub address: IpAddr,
    /// How many, how fast.
    pub pace: Pace,
}

/// What packets are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packets {
    /// ICMP echo requests.
    Ping,
    /// TCP connections.
    Tcp {
        /// The target's port.
        port: u16,
        /// How long each sends what it can; `None` where it only connects.
        bulk: Option<Duration>,
    },
    /// UDP datagrams.
    Udp {
        /// The target's port.
        port: u16,
    },
    /// HTTP requests.
    Http {
        /// The target's port.
        port: u16,
        /// What stands in the header `host`.
        authority: String,
        /// Path and query.
        path: String,
    },
    /// DNS queries.
    Dns {
        /// The server's port.
        port: u16,
        /// The name to look up.
        name: String,
        /// Types of records; each is asked for.
        types: Vec<RecordType>,
    },
}

/// A program that is run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
    /// Its working directory, relative to the file's.
    pub cwd: Option<String>,
    /// When it is killed.
    pub timeout: Duration,
}

/// How many, how fast, and how long to wait for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many.
    pub count: u32,
    /// From one to the next.
    pub interval: Duration,
    /// The longest wait for an answer.
    pub timeout: Duration,
}

impl Packets {
    /// The protocol's number for IPv4 and the target's port, where it has one.
    pub fn transport(&self) -> (u8, Option<u16>) {
        match self {
            Self::Ping => (1, None),
            Self::Tcp { port, .. } | Self::Http { port, .. } => (6, Some(*port)),
            Self::Udp { port } | Self::Dns { port, .. } => (17, Some(*port)),
        }
    }
}

/// Why a test has no cases.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// Nothing can be sent there.
    #[error("`{from}` and `{to}` have no addresses of one family")]
    NoAddress {
        /// The sender.
        from: String,
        /// The target.
        to: String,
    },
    /// The test says something that the loader should have refused.
    #[error("the test cannot be run: {0}")]
    Malformed(String),
    /// Every pair is a host with himself.
    #[error("no pair is left: nobody is paired with himself")]
    NoPair,
}

/// How long a bulk transfer lasts where nothing is said.
const BULK: Duration = Duration::from_secs(1);

/// When a program is killed where nothing is said.
const PROGRAM_ENDS_WITHIN: Duration = Duration::from_secs(60);

/// The cases of a test, by sender then by target, in the natural order of their names.
///
/// # Errors
/// [`CaseError`].
pub fn expand(test: &TestSpec, model: &Model) -> Result<Vec<Case>, CaseError> {
    let probes = test.probes();
    let [probe] = probes.as_slice() else {
        return Err(CaseError::Malformed(format!(
            "it has {} probes",
            probes.len()
        )));
    };
    let (from, aims) = match probe {
        ProbeSpec::Exec(exec) => return programs(test, exec, model),
        ProbeSpec::Ping(PingProbe {
            from,
            to,
            count,
            interval,
            timeout,
        }) => {
            let pace = Pace::new(*count, *interval, *timeout, Duration::from_millis(100));
            let aims = to.iter().map(|to| Aim::new(to, "", pace, Packets::Ping));
            (from, aims.collect())
        }
        ProbeSpec::Tcp(StreamProbe {
            from,
            to,
            count,
            interval,
            timeout,
            duration,
        }) => {
            let pace = Pace::new(*count, *interval, *timeout, Duration::ZERO);
            let duration = duration.map_or(BULK, TimeSpan::as_duration);
            let bulk = test.expect.throughput.as_ref().map(|_| duration);
            (
                from,
                with_ports(to, pace, |port| Packets::Tcp { port, bulk })?,
            )
        }
        ProbeSpec::Udp(StreamProbe {
            from,
            to,
            count,
            interval,
            timeout,
            duration: _,
        }) => {
            let pace = Pace::new(*count, *interval, *timeout, Duration::from_millis(10));
            (from, with_ports(to, pace, |port| Packets::Udp { port })?)
        }
        ProbeSpec::Http(HttpProbe {
            from,
            url,
            count,
            interval,
            timeout,
        }) => {
            let malformed = || CaseError::Malformed(format!("`{url}` is no URL"));
            let Url { host, port, path } = Url::parse(url).ok_or_else(malformed)?;
            let pace = Pace::new(*count, *interval, *timeout, Duration::ZERO);
            let suffix = suffix(port, 80);
            let authority = String::new();
            let packets = Packets::Http {
                port,
                authority,
                path,
            };
            (from, vec![Aim::new(&host, &suffix, pace, packets)])
        }
        ProbeSpec::Dns(DnsProbe {
            from,
            server,
            name,
            r#type,
            count,
            interval,
            timeout,
        }) => {
            let malformed = || CaseError::Malformed("it names no server".to_owned());
            let (host, port) = server
                .as_deref()
                .and_then(split_port)
                .ok_or_else(malformed)?;
            let port = port.unwrap_or(53);
            let pace = Pace::new(*count, *interval, *timeout, Duration::ZERO);
            let types = r#type.map_or_else(|| types(&test.expect), |one| vec![one]);
            let name = name.clone();
            let aim = Aim::new(
                host,
                &suffix(port, 53),
                pace,
                Packets::Dns { port, name, types },
            );
            (from, vec![aim])
        }
    };
    let mut cases = Vec::new();
    for sender in select(from, model)? {
        for aim in &aims {
            for (label, host, addresses) in resolve(&aim.pattern, model)? {
                if host.as_deref() == Some(sender.as_str()) {
                    continue;
                }
                let (source, address) =
                    pair(model, &sender, &addresses).ok_or_else(|| CaseError::NoAddress {
                        from: sender.clone(),
                        to: label.clone(),
                    })?;
                let to = format!("{label}{}", aim.suffix);
                let mut packets = aim.packets.clone();
                if let Packets::Http { authority, .. } = &mut packets {
                    authority.clone_from(&to);
                }
                let target = Target {
                    host,
                    source,
                    address,
                    pace: aim.pace,
                };
                cases.push(Case {
                    name: format!("{}: {sender} -> {to}", test.name),
                    to,
                    ..case(test, &sender, Probe::Packets(target, packets))
                });
            }
        }
    }
    if cases.is_empty() {
        Err(CaseError::NoPair)
    } else {
        Ok(cases)
    }
}

fn case(test: &TestSpec, from: &str, probe: Probe) -> Case {
    Case {
        name: format!("{}: {from}", test.name),
        test: test.name.clone(),
        from: from.to_owned(),
        to: String::new(),
        probe,
        expect: test.expect.clone(),
        eventually: test.eventually.map(TimeSpan::as_duration),
    }
}

/// One case for each host that runs the program.
fn programs(test: &TestSpec, exec: &ExecProbe, model: &Model) -> Result<Vec<Case>, CaseError> {
    let timeout = exec.timeout.or(test.expect.within);
    let program = Program {
        cmd: exec.cmd.clone(),
        env: exec.env.clone(),
        cwd: exec.cwd.clone(),
        timeout: timeout.map_or(PROGRAM_ENDS_WITHIN, TimeSpan::as_duration),
    };
    let hosts = select(&exec.from, model)?;
    Ok(hosts
        .iter()
        .map(|host| case(test, host, Probe::Exec(program.clone())))
        .collect())
}

/// The types of records that an expectation is about.
fn types(expect: &Expect) -> Vec<RecordType> {
    let found = [
        (expect.a.is_some(), RecordType::A),
        (expect.aaaa.is_some(), RecordType::Aaaa),
    ];
    let found: Vec<RecordType> = found
        .into_iter()
        .filter_map(|(is_there, one)| is_there.then_some(one))
        .collect();
    match (found.is_empty(), &expect.cname) {
        (true, Some(_)) => vec![RecordType::Cname],
        (true, None) => vec![RecordType::A],
        (false, _) => found,
    }
}

impl Pace {
    fn new(
        count: Option<u32>,
        interval: Option<TimeSpan>,
        timeout: Option<TimeSpan>,
        usual: Duration,
    ) -> Self {
        Self {
            count: count.unwrap_or(1),
            interval: interval.map_or(usual, TimeSpan::as_duration),
            timeout: timeout.map_or(Duration::from_secs(1), TimeSpan::as_duration),
        }
    }
}

/// What is sent to whom, before names are looked up.
struct Aim {
    pattern: String,
    /// Follows the target's name in reports.
    suffix: String,
    pace: Pace,
    packets: Packets,
}

impl Aim {
    fn new(pattern: &str, suffix: &str, pace: Pace, packets: Packets) -> Self {
        Self {
            pattern: pattern.to_owned(),
            suffix: suffix.to_owned(),
            pace,
            packets,
        }
    }
}

/// A port as it is written behind a host, where it is not the usual one.
fn suffix(port: u16, usual: u16) -> String {
    if port == usual {
        String::new()
    } else {
        format!(":{port}")
    }
}

fn with_ports(
    to: &OneOrMany<String>,
    pace: Pace,
    packets: impl Fn(u16) -> Packets,
) -> Result<Vec<Aim>, CaseError> {
    to.iter()
        .map(|text| match split_port(text) {
            Some((host, Some(port))) => {
                Ok(Aim::new(host, &format!(":{port}"), pace, packets(port)))
            }
            _ => Err(CaseError::Malformed(format!("`{text}` says no port"))),
        })
        .collect()
}

/// Hosts by names, ranges and globs, in the natural order of their names within each pattern.
fn select(patterns: &OneOrMany<String>, model: &Model) -> Result<Vec<String>, CaseError> {
    let mut found: Vec<String> = Vec::new();
    for pattern in patterns.iter() {
        for host in hosts(pattern, model)? {
            if !found.contains(&host) {
                found.push(host);
            }
        }
    }
    Ok(found)
}

fn hosts(pattern: &str, model: &Model) -> Result<Vec<String>, CaseError> {
    let selected = names::select(pattern, model.hosts.keys().map(String::as_str));
    let mut found = selected.map_err(|error| CaseError::Malformed(error.to_string()))?;
    if names::is_glob(pattern) {
        found.sort_by_key(|name| natural(name));
    }
    Ok(found.into_iter().map(str::to_owned).collect())
}

type Resolved = (String, Option<String>, Vec<IpAddr>);

/// Whom a pattern means: hosts of the lab, or an address.
fn resolve(pattern: &str, model: &Model) -> Result<Vec<Resolved>, CaseError> {
    if let Ok(address) = pattern.trim_matches(['[', ']']).parse::<IpAddr>() {
        let has_it = |host: &&weft_controller::model::Host| {
            host.interfaces
                .iter()
                .flat_map(|interface| &interface.addresses)
                .any(|net| net.addr() == address)
        };
        let owner = model
            .hosts
            .values()
            .find(has_it)
            .map(|host| host.name.clone());
        return Ok(vec![(pattern.to_owned(), owner, vec![address])]);
    }
    let addresses = |name: &str| -> Vec<IpAddr> {
        let interfaces = model
            .hosts
            .get(name)
            .into_iter()
            .flat_map(|host| &host.interfaces);
        interfaces
            .flat_map(|interface| &interface.addresses)
            .map(ipnet::IpNet::addr)
            .collect()
    };
    Ok(hosts(pattern, model)?
        .into_iter()
        .map(|name| (name.clone(), Some(name.clone()), addresses(&name)))
        .collect())
}

/// The first of the target's addresses for which the sender has one too: in its own subnet if it can be, IPv4 before IPv6.
fn pair(model: &Model, sender: &str, targets: &[IpAddr]) -> Option<(IpAddr, IpAddr)> {
    let own: Vec<ipnet::IpNet> = model
        .hosts
        .get(sender)?
        .interfaces
        .iter()
        .flat_map(|interface| interface.addresses.iter().copied())
        .collect();
    let near = targets.iter().find_map(|target| {
        own.iter()
            .find(|net| net.contains(target))
            .map(|net| (net.addr(), *target))
    });
    near.or_else(|| {
        targets.iter().find_map(|target| {
            own.iter()
                .find(|net| net.addr().is_ipv4() == target.is_ipv4())
                .map(|net| (net.addr(), *target))
        })
    })
}

/// A key that sorts `h2` before `h10`.
pub(super) fn natural(name: &str) -> Vec<(u8, u64, String)> {
    let mut parts: Vec<(u8, u64, String)> = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let is_number = first.is_ascii_digit();
        let end = rest
            .find(|c: char| c.is_ascii_digit() != is_number)
            .unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        parts.push(match part.parse() {
            Ok(number) if is_number => (0, number, part.to_owned()),
            _ => (1, 0, part.to_owned()),
        });
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use weft_controller::load;

    use super::*;

    const LAB: &str = "topology:\n  nodes: { s: { kind: switch }, 'h[1-10]': { kind: host }, v6: { kind: host, ip: 'fd00::1/64' } }\n";

    fn cases(test: &str) -> Vec<String> {
        let text = format!("{LAB}tests: [ {{ name: t, {test} }} ]\n");
        let model = load::model(text.as_bytes(), "lab.yaml", None).unwrap();
        match expand(&model.tests[0], &model) {
            Ok(cases) => cases.into_iter().map(|case| case.name).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn globs_become_pairs_and_nobody_is_paired_with_himself() {
        assert_eq!(cases("ping: { from: 'h[1-2]', to: 'h[1-3]' }").len(), 4);
        assert_eq!(cases("ping: { from: 'h*', to: 'h*' }").len(), 90);
        assert_eq!(
            cases("tcp: { from: h1, to: ['h2:80', 'h1?:81'] }"),
            ["t: h1 -> h2:80", "t: h1 -> h10:81"]
        );
        assert_eq!(
            cases("http: { from: 'h*', url: 'http://h9:8080/x' }")[8],
            "t: h10 -> h9:8080"
        );
        assert_eq!(
            cases("ping: { from: h1, to: h1 }"),
            ["no pair is left: nobody is paired with himself"]
        );
    }

    #[test]
    fn programs_run_once_in_each_host_and_queries_go_to_servers() {
        assert_eq!(
            cases("exec: { from: 'h[1-2]', cmd: [x] }"),
            ["t: h1", "t: h2"]
        );
        assert_eq!(
            cases("dns: { from: h1, server: h2, name: web.example }"),
            ["t: h1 -> h2"]
        );
        assert_eq!(
            cases("dns: { from: h1, server: 'h2:5353', name: web.example }"),
            ["t: h1 -> h2:5353"]
        );
        let types = |expect: &str| {
            let test =
                format!("dns: {{ from: h1, server: h2, name: a.b }}, expect: {{ {expect} }}");
            let text = format!("{LAB}tests: [ {{ name: t, {test} }} ]\n");
            let model = load::model(text.as_bytes(), "lab.yaml", None).unwrap();
            match expand(&model.tests[0], &model).unwrap().remove(0).probe {
                Probe::Packets(_, Packets::Dns { types, .. }) => types,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(types(""), [RecordType::A]);
        assert_eq!(types("cname: c.d"), [RecordType::Cname]);
        assert_eq!(types("cname: c.d, a: 10.0.0.1"), [RecordType::A]);
        assert_eq!(
            types("aaaa: [], a: 10.0.0.1"),
            [RecordType::A, RecordType::Aaaa]
        );
    }

    #[test]
    fn addresses_of_one_family_are_paired() {
        assert_eq!(
            cases("ping: { from: h1, to: v6 }"),
            ["`h1` and `v6` have no addresses of one family"]
        );
        assert_eq!(
            cases("ping: { from: h1, to: 192.0.2.1 }"),
            ["t: h1 -> 192.0.2.1"]
        );
    }
}
