//! From tests to cases: names and globs to pairs of hosts.

use std::net::IpAddr;
use std::time::Duration;

use weft_controller::model::Model;
use weft_controller::names;
use weft_controller::quantity::TimeSpan;
use weft_controller::spec::test::Url;
use weft_controller::spec::{Expect, OneOrMany, TestSpec};

/// One probe between two ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The test's name and the pair.
    pub name: String,
    /// The test's name.
    pub test: String,
    /// The host that sends.
    pub from: String,
    /// Its address in the family of the target's.
    pub source: IpAddr,
    /// Who is probed, as the report shows it.
    pub to: String,
    /// The host that is probed; `None` for an address that no host of the lab has.
    pub target: Option<String>,
    /// Its address.
    pub address: IpAddr,
    /// What is sent.
    pub probe: Probe,
    /// What must hold.
    pub expect: Expect,
    /// How long to retry until it holds.
    pub eventually: Option<Duration>,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// ICMP echo requests.
    Ping(Pace),
    /// TCP connections.
    Tcp {
        /// The target's port.
        port: u16,
        /// How many, how fast.
        pace: Pace,
    },
    /// UDP datagrams.
    Udp {
        /// The target's port.
        port: u16,
        /// How many, how fast.
        pace: Pace,
    },
    /// HTTP requests.
    Http {
        /// The target's port.
        port: u16,
        /// What stands in the header `host`.
        authority: String,
        /// Path and query.
        path: String,
        /// How many, how fast.
        pace: Pace,
    },
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

impl Probe {
    /// The protocol's number and the port, where it has one.
    pub fn transport(&self) -> (u8, Option<u16>) {
        match self {
            Self::Ping(_) => (1, None),
            Self::Tcp { port, .. } | Self::Http { port, .. } => (6, Some(*port)),
            Self::Udp { port, .. } => (17, Some(*port)),
        }
    }

    /// How many, how fast.
    pub fn pace(&self) -> Pace {
        match self {
            Self::Ping(pace)
            | Self::Tcp { pace, .. }
            | Self::Udp { pace, .. }
            | Self::Http { pace, .. } => *pace,
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

/// The cases of a test, by sender then by target, in the natural order of their names.
///
/// # Errors
/// [`CaseError`].
pub fn expand(test: &TestSpec, model: &Model) -> Result<Vec<Case>, CaseError> {
    let pace = |count: Option<u32>,
                interval: Option<TimeSpan>,
                timeout: Option<TimeSpan>,
                usual: Duration| Pace {
        count: count.unwrap_or(1),
        interval: interval.map_or(usual, TimeSpan::as_duration),
        timeout: timeout.map_or(Duration::from_secs(1), TimeSpan::as_duration),
    };
    let (from, targets) = match (&test.ping, &test.tcp, &test.udp, &test.http) {
        (Some(ping), ..) => {
            let pace = pace(
                ping.count,
                ping.interval,
                ping.timeout,
                Duration::from_millis(100),
            );
            let targets = ping
                .to
                .iter()
                .map(|to| (to.clone(), String::new(), Probe::Ping(pace)))
                .collect();
            (&ping.from, targets)
        }
        (_, Some(tcp), ..) => {
            let pace = pace(tcp.count, tcp.interval, tcp.timeout, Duration::ZERO);
            (
                &tcp.from,
                with_ports(&tcp.to, |port| Probe::Tcp { port, pace })?,
            )
        }
        (_, _, Some(udp), _) => {
            let pace = pace(
                udp.count,
                udp.interval,
                udp.timeout,
                Duration::from_millis(10),
            );
            (
                &udp.from,
                with_ports(&udp.to, |port| Probe::Udp { port, pace })?,
            )
        }
        (_, _, _, Some(http)) => {
            let malformed = || CaseError::Malformed(format!("`{}` is no URL", http.url));
            let Url { host, port, path } = Url::parse(&http.url).ok_or_else(malformed)?;
            let pace = pace(http.count, http.interval, http.timeout, Duration::ZERO);
            let suffix = if port == 80 {
                String::new()
            } else {
                format!(":{port}")
            };
            let probe = Probe::Http {
                port,
                authority: String::new(),
                path,
                pace,
            };
            (&http.from, vec![(host, suffix, probe)])
        }
        (None, None, None, None) => return Err(CaseError::Malformed("it has no probe".to_owned())),
    };
    let mut cases = Vec::new();
    for sender in select(from, model)? {
        for (pattern, suffix, probe) in &targets {
            for (label, target, addresses) in resolve(pattern, model)? {
                if target.as_deref() == Some(sender.as_str()) {
                    continue;
                }
                let (source, address) =
                    pair(model, &sender, &addresses).ok_or_else(|| CaseError::NoAddress {
                        from: sender.clone(),
                        to: label.clone(),
                    })?;
                let to = format!("{label}{suffix}");
                let mut probe = probe.clone();
                if let Probe::Http { authority, .. } = &mut probe {
                    authority.clone_from(&to);
                }
                cases.push(Case {
                    name: format!("{}: {sender} -> {to}", test.name),
                    test: test.name.clone(),
                    from: sender.clone(),
                    source,
                    to,
                    target,
                    address,
                    probe,
                    expect: test.expect.clone(),
                    eventually: test.eventually.map(TimeSpan::as_duration),
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

type Target = (String, String, Probe);

fn with_ports(
    to: &OneOrMany<String>,
    probe: impl Fn(u16) -> Probe,
) -> Result<Vec<Target>, CaseError> {
    to.iter()
        .map(|text| {
            let split = text
                .rsplit_once(':')
                .and_then(|(host, port)| Some((host, port.parse().ok()?)));
            let (host, port) =
                split.ok_or_else(|| CaseError::Malformed(format!("`{text}` says no port")))?;
            Ok((host.to_owned(), format!(":{port}"), probe(port)))
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

    fn cases(test: &str) -> Vec<String> {
        let text = format!(
            "topology:\n  nodes: {{ s: {{ kind: switch }}, 'h[1-10]': {{ kind: host }}, v6: {{ kind: host, ip: 'fd00::1/64' }} }}\ntests: [ {{ name: t, {test} }} ]\n"
        );
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
