//! Tests are checked against the lab before it is built, so that a slip in a name costs no start.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{ENOUGH, MAX_TESTS};
use crate::model::Model;
use crate::names;
use crate::problem::{Code, FieldError, pointer_to};
use crate::quantity::TimeSpan;
use crate::spec::test::{Url, split_port};
use crate::spec::{
    Connect, DnsProbe, Document, ExecProbe, OneOrMany, ProbeSpec, StreamProbe, TestSpec,
    ThroughputExpect,
};

/// How long a bulk transfer may last, in nanoseconds.
const BULK: std::ops::RangeInclusive<u64> = 100_000_000..=600_000_000_000;

/// Checks every test.
pub(super) fn tests(document: &Document, model: &Model, errors: &mut Vec<FieldError>) {
    let mut names_seen = BTreeSet::new();
    for (index, test) in document.tests.iter().enumerate() {
        let pointer = pointer_to("/tests", index);
        if index == MAX_TESTS {
            let detail = format!("a file has at most {MAX_TESTS} tests");
            errors.push(FieldError::new(&pointer, Code::OutOfRange, detail));
        }
        if index >= MAX_TESTS || errors.len() > ENOUGH {
            break;
        }
        let mut check = Check {
            model,
            errors: &mut *errors,
        };
        if test.name.trim().is_empty() {
            check.error(
                &pointer_to(&pointer, "name"),
                Code::OutOfRange,
                "a test wants a name".to_owned(),
            );
        } else if !names_seen.insert(test.name.as_str()) {
            let detail = format!("two tests are called `{}`", test.name);
            check.error(&pointer_to(&pointer, "name"), Code::Duplicate, detail);
        }
        check.test(test, &pointer);
    }
}

struct Check<'a, 'e> {
    model: &'a Model,
    errors: &'e mut Vec<FieldError>,
}

/// The kinds of probe, as bits of "who knows this expectation".
const PING: u8 = 1;
const TCP: u8 = 2;
const UDP: u8 = 4;
const HTTP: u8 = 8;
const DNS: u8 = 16;
const EXEC: u8 = 32;
/// All whose packets have a way of their own.
const PACKETS: u8 = PING | TCP | UDP | HTTP | DNS;

fn bit(probe: &ProbeSpec<'_>) -> u8 {
    match probe {
        ProbeSpec::Ping(_) => PING,
        ProbeSpec::Tcp(_) => TCP,
        ProbeSpec::Udp(_) => UDP,
        ProbeSpec::Http(_) => HTTP,
        ProbeSpec::Dns(_) => DNS,
        ProbeSpec::Exec(_) => EXEC,
    }
}

impl Check<'_, '_> {
    fn test(&mut self, test: &TestSpec, pointer: &str) {
        let probes = test.probes();
        let [probe] = probes.as_slice() else {
            let all = ProbeSpec::KEYS.join("`, `");
            let found: Vec<&str> = probes.iter().map(ProbeSpec::key).collect();
            let detail = match found.as_slice() {
                [] => format!(
                    "the test `{}` has no probe: exactly one of `{all}` is wanted",
                    test.name
                ),
                _ => format!(
                    "the test `{}` has {} probes, `{}`; one is wanted",
                    test.name,
                    found.len(),
                    found.join("`, `")
                ),
            };
            return self.error(pointer, Code::Conflict, detail);
        };
        let at = pointer_to(pointer, probe.key());
        match probe {
            ProbeSpec::Ping(ping) => {
                self.hosts(&ping.from, &pointer_to(&at, "from"));
                self.targets(&ping.to, &pointer_to(&at, "to"), false);
                self.numbers(ping.count, ping.timeout, &at);
            }
            ProbeSpec::Tcp(stream) | ProbeSpec::Udp(stream) => self.stream(stream, test, &at),
            ProbeSpec::Http(http) => {
                self.hosts(&http.from, &pointer_to(&at, "from"));
                self.numbers(http.count, http.timeout, &at);
                let at = pointer_to(&at, "url");
                match Url::parse(&http.url) {
                    Some(url) => self.target(&url.host, &at),
                    None => {
                        let detail = if http.url.starts_with("https://") {
                            "`https` is not supported yet, only `http` is".to_owned()
                        } else {
                            let url = &http.url;
                            format!("`{url}` is no URL, for example `http://web:8080/health`")
                        };
                        self.error(&at, Code::WrongFormat, detail);
                    }
                }
            }
            ProbeSpec::Dns(dns) => self.dns(dns, &at),
            ProbeSpec::Exec(exec) => self.exec(exec, &at),
        }
        self.expectations(test, probe, &pointer_to(pointer, "expect"));
    }

    fn dns(&mut self, probe: &DnsProbe, pointer: &str) {
        self.hosts(&probe.from, &pointer_to(pointer, "from"));
        self.numbers(probe.count, probe.timeout, pointer);
        if let Some(problem) = names::dns_name_problem(&probe.name) {
            self.error(&pointer_to(pointer, "name"), Code::WrongFormat, problem);
        }
        let at = pointer_to(pointer, "server");
        match probe
            .server
            .as_deref()
            .map(|server| (server, split_port(server)))
        {
            Some((_, Some((host, _)))) => self.target(host, &at),
            Some((server, None)) => {
                let detail =
                    format!("`{server}` is no server, for example `dns1` or `10.0.0.53:53`");
                self.error(&at, Code::WrongFormat, detail);
            }
            None => {
                let detail = "no host has a DNS server of its own: `server` has to say whom to ask";
                self.error(&at, Code::MissingField, detail.to_owned());
            }
        }
    }

    fn exec(&mut self, probe: &ExecProbe, pointer: &str) {
        self.hosts(&probe.from, &pointer_to(pointer, "from"));
        self.numbers(None, probe.timeout, pointer);
        if probe.cmd.first().is_none_or(String::is_empty) {
            let detail = "`cmd` names no program, for example `[ip, route]`".to_owned();
            self.error(&pointer_to(pointer, "cmd"), Code::OutOfRange, detail);
        }
    }

    fn stream(&mut self, probe: &StreamProbe, test: &TestSpec, pointer: &str) {
        self.hosts(&probe.from, &pointer_to(pointer, "from"));
        self.targets(&probe.to, &pointer_to(pointer, "to"), true);
        self.numbers(probe.count, probe.timeout, pointer);
        if let Some(duration) = probe.duration {
            let at = pointer_to(pointer, "duration");
            if test.expect.throughput.is_none() {
                let detail =
                    "`duration` is that of a bulk transfer, and no `throughput` is expected";
                self.error(&at, Code::Conflict, detail.to_owned());
            }
            if !BULK.contains(&duration.0) {
                let detail = format!("the duration {duration} is out of range [100ms, 10m]");
                self.error(&at, Code::OutOfRange, detail);
            }
        }
    }

    fn numbers(&mut self, count: Option<u32>, timeout: Option<TimeSpan>, pointer: &str) {
        if count.is_some_and(|count| !(1..=10_000).contains(&count)) {
            self.error(
                &pointer_to(pointer, "count"),
                Code::OutOfRange,
                "the count is out of range [1, 10000]".to_owned(),
            );
        }
        if timeout == Some(TimeSpan(0)) {
            self.error(
                &pointer_to(pointer, "timeout"),
                Code::OutOfRange,
                "the timeout is zero".to_owned(),
            );
        }
    }

    fn hosts(&mut self, patterns: &OneOrMany<String>, pointer: &str) {
        if patterns.is_empty() {
            self.error(pointer, Code::MissingField, "names no host".to_owned());
        }
        for pattern in patterns.iter() {
            self.host(pattern, pointer);
        }
    }

    fn targets(&mut self, patterns: &OneOrMany<String>, pointer: &str, wants_port: bool) {
        if patterns.is_empty() {
            self.error(pointer, Code::MissingField, "names no host".to_owned());
        }
        for pattern in patterns.iter() {
            let host = if wants_port {
                match split_port(pattern) {
                    Some((host, Some(_))) => host,
                    Some((_, None)) => {
                        let detail =
                            format!("`{pattern}` says no port, for example `{pattern}:80`");
                        self.error(pointer, Code::WrongFormat, detail);
                        continue;
                    }
                    None => {
                        let (_, port) = pattern.rsplit_once(':').unwrap_or_default();
                        let detail = match port.parse::<u64>() {
                            Ok(_) => format!("the port `{port}` is out of range [1, 65535]"),
                            Err(_) => format!("`{port}` is no port, for example `80`"),
                        };
                        self.error(pointer, Code::OutOfRange, detail);
                        continue;
                    }
                }
            } else {
                pattern.as_str()
            };
            self.target(host, pointer);
        }
    }

    fn target(&mut self, host: &str, pointer: &str) {
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_err() {
            self.host(host, pointer);
        }
    }

    /// A pattern has to pick a host.
    fn host(&mut self, pattern: &str, pointer: &str) {
        let hosts = || self.model.hosts.keys().map(String::as_str);
        match names::select(pattern, hosts()) {
            Ok(found) if found.is_empty() => {
                let detail = if self.model.switches.contains_key(pattern) {
                    format!("`{pattern}` is a switch, tests run between hosts")
                } else {
                    format!("there is no host `{pattern}`")
                };
                let mut error = FieldError::new(pointer, Code::NoSuchNode, detail)
                    .with_allowed(pattern, hosts());
                error.allowed.clear();
                self.errors.push(error);
            }
            Ok(_) => {}
            Err(error) => self.error(pointer, Code::WrongFormat, error.to_string()),
        }
    }

    /// Every name in an expectation exists, and every expectation is one that the probe can tell.
    fn expectations(&mut self, test: &TestSpec, probe: &ProbeSpec<'_>, pointer: &str) {
        let expect = &test.expect;
        let known = [
            ("loss", expect.loss.is_some(), PING | UDP),
            ("rtt", expect.rtt.is_some(), PACKETS),
            ("connect", expect.connect.is_some(), TCP | UDP | HTTP),
            ("reply", expect.reply.is_some(), TCP | UDP),
            ("throughput", expect.throughput.is_some(), TCP),
            ("status", expect.status.is_some(), HTTP),
            ("within", expect.within.is_some(), PACKETS | EXEC),
            ("bodyContains", expect.body_contains.is_some(), HTTP),
            ("header", expect.header.is_some(), HTTP),
            ("a", expect.a.is_some(), DNS),
            ("aaaa", expect.aaaa.is_some(), DNS),
            ("cname", expect.cname.is_some(), DNS),
            ("rcode", expect.rcode.is_some(), DNS),
            ("exit", expect.exit.is_some(), EXEC),
            ("stdoutMatches", expect.stdout_matches.is_some(), EXEC),
            (
                "servedBy",
                expect.served_by.is_some(),
                TCP | UDP | HTTP | DNS,
            ),
            ("path", expect.path.is_some(), PACKETS),
            ("spread", expect.spread.is_some(), PACKETS),
        ];
        for (key, is_there, who) in known {
            if is_there && who & bit(probe) == 0 {
                let names = ProbeSpec::KEYS
                    .into_iter()
                    .zip([PING, TCP, UDP, HTTP, DNS, EXEC]);
                let fits: Vec<&str> = names
                    .filter(|(_, bit)| who & bit != 0)
                    .map(|(name, _)| name)
                    .collect();
                let detail = format!(
                    "`{key}` can be expected of `{}` only, this test is a `{}`",
                    fits.join("`, `"),
                    probe.key()
                );
                self.error(&pointer_to(pointer, key), Code::Conflict, detail);
            }
        }
        self.together(test, pointer);
        if let Some(Err(error)) = expect.stdout_matches.as_deref().map(regex::Regex::new) {
            let reason = match error {
                regex::Error::Syntax(text) => text.lines().last().unwrap_or_default().to_owned(),
                other => other.to_string(),
            };
            let detail = format!(
                "no regular expression: {}",
                reason.trim_start_matches("error: ")
            );
            self.error(
                &pointer_to(pointer, "stdoutMatches"),
                Code::WrongFormat,
                detail,
            );
        }
        for (key, names) in [("cname", &expect.cname)] {
            for problem in names
                .iter()
                .flat_map(OneOrMany::iter)
                .filter_map(|name| names::dns_name_problem(name))
            {
                self.error(&pointer_to(pointer, key), Code::WrongFormat, problem);
            }
        }
        if let Some(served_by) = &expect.served_by {
            self.hosts(served_by, &pointer_to(pointer, "servedBy"));
        }
        if let Some(path) = &expect.path {
            let pointer = pointer_to(pointer, "path");
            let exact = path.exact.iter().flatten().map(|name| (name, "exact"));
            let any_of = path.any_of.iter().flatten().map(|name| (name, "anyOf"));
            let through = path.through.iter().map(|name| (name, "through"));
            let not_through = path.not_through.iter().map(|name| (name, "notThrough"));
            for (name, key) in exact.chain(any_of).chain(through).chain(not_through) {
                self.node_or_link(name, &pointer_to(&pointer, key));
            }
        }
        if let Some(spread) = &expect.spread {
            let pointer = pointer_to(&pointer_to(pointer, "spread"), "over");
            if spread.over.is_empty() {
                self.error(
                    &pointer,
                    Code::MissingField,
                    "names no node and no link".to_owned(),
                );
            }
            for name in spread.over.iter() {
                self.node_or_link(name, &pointer);
            }
        }
    }

    /// What contradicts something else that is expected.
    fn together(&mut self, test: &TestSpec, pointer: &str) {
        let expect = &test.expect;
        let answers = [
            ("reply", expect.reply.is_some()),
            ("throughput", expect.throughput.is_some()),
            ("status", expect.status.is_some()),
            ("bodyContains", expect.body_contains.is_some()),
            ("header", expect.header.is_some()),
            ("servedBy", expect.served_by.is_some()),
            ("rtt", expect.rtt.is_some()),
        ];
        if let Some(connect) = expect.connect.filter(|connect| *connect != Connect::Ok) {
            for (key, _) in answers.into_iter().filter(|(_, is_there)| *is_there) {
                let detail = format!(
                    "`{key}` wants an answer, and `connect: {}` wants none",
                    connect.as_str()
                );
                self.error(&pointer_to(pointer, key), Code::Conflict, detail);
            }
        }
        if expect.throughput.is_some() && expect.reply.is_some() {
            let detail = "`reply` and `throughput` cannot be expected of one connection".to_owned();
            self.error(&pointer_to(pointer, "reply"), Code::Conflict, detail);
        }
        if let Some(ThroughputExpect { min, max }) = &expect.throughput {
            let at = pointer_to(pointer, "throughput");
            match (min, max) {
                (None, None) => self.error(
                    &at,
                    Code::MissingField,
                    "`min`, `max` or both are wanted".to_owned(),
                ),
                (Some(min), Some(max)) if min > max => {
                    let detail = format!("the least value {min} is above the largest, {max}");
                    self.error(&at, Code::Conflict, detail);
                }
                _ => {}
            }
        }
    }

    fn node_or_link(&mut self, pattern: &str, pointer: &str) {
        let model = self.model;
        let nodes = || {
            model
                .switches
                .keys()
                .chain(model.hosts.keys())
                .map(String::as_str)
        };
        match names::select(pattern, nodes()) {
            Ok(found) if found.is_empty() && model.link(pattern).is_none() => {
                let links = names::select(pattern, model.links.keys().map(String::as_str));
                if links.is_ok_and(|links| links.is_empty()) {
                    let detail = format!("there is no node and no link `{pattern}`");
                    let mut error = FieldError::new(pointer, Code::NoSuchNode, detail)
                        .with_allowed(
                            pattern,
                            nodes().chain(model.links.keys().map(String::as_str)),
                        );
                    error.allowed.clear();
                    self.errors.push(error);
                }
            }
            Ok(_) => {}
            Err(error) => self.error(pointer, Code::WrongFormat, error.to_string()),
        }
    }

    fn error(&mut self, pointer: &str, code: Code, detail: String) {
        self.errors.push(FieldError::new(pointer, code, detail));
    }
}
