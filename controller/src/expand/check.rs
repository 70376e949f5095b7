//! Tests are checked against the lab before it is built, so that a slip in a name costs no start.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::Model;
use crate::names;
use crate::problem::{Code, FieldError, pointer_to};
use crate::quantity::TimeSpan;
use crate::spec::test::Url;
use crate::spec::{Document, OneOrMany, StreamProbe, TestSpec};

/// Checks every test.
pub(super) fn tests(document: &Document, model: &Model, errors: &mut Vec<FieldError>) {
    let mut names_seen = BTreeSet::new();
    for (index, test) in document.tests.iter().enumerate() {
        let pointer = pointer_to("/tests", index);
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

impl Check<'_, '_> {
    fn test(&mut self, test: &TestSpec, pointer: &str) {
        let probe = match (&test.ping, &test.tcp, &test.udp, &test.http) {
            (Some(ping), None, None, None) => {
                let pointer = pointer_to(pointer, "ping");
                self.hosts(&ping.from, &pointer_to(&pointer, "from"));
                self.targets(&ping.to, &pointer_to(&pointer, "to"), false);
                self.numbers(ping.count, ping.timeout, &pointer);
                PING
            }
            (None, Some(tcp), None, None) => {
                self.stream(tcp, &pointer_to(pointer, "tcp"));
                TCP
            }
            (None, None, Some(udp), None) => {
                self.stream(udp, &pointer_to(pointer, "udp"));
                UDP
            }
            (None, None, None, Some(http)) => {
                let pointer = pointer_to(pointer, "http");
                self.hosts(&http.from, &pointer_to(&pointer, "from"));
                self.numbers(http.count, http.timeout, &pointer);
                let at = pointer_to(&pointer, "url");
                match Url::parse(&http.url) {
                    Some(url) => self.target(&url.host, &at),
                    None => {
                        let detail = format!(
                            "`{}` is no URL, for example `http://web:8080/health`",
                            http.url
                        );
                        self.error(&at, Code::WrongFormat, detail);
                    }
                }
                HTTP
            }
            _ => {
                let detail =
                    "a test wants exactly one of `ping`, `tcp`, `udp` and `http`".to_owned();
                return self.error(pointer, Code::Conflict, detail);
            }
        };
        self.expectations(test, probe, &pointer_to(pointer, "expect"));
    }

    fn stream(&mut self, probe: &StreamProbe, pointer: &str) {
        self.hosts(&probe.from, &pointer_to(pointer, "from"));
        self.targets(&probe.to, &pointer_to(pointer, "to"), true);
        self.numbers(probe.count, probe.timeout, pointer);
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
                let Some((host, port)) = pattern.rsplit_once(':') else {
                    let detail = format!("`{pattern}` says no port, for example `{pattern}:80`");
                    self.error(pointer, Code::WrongFormat, detail);
                    continue;
                };
                if !port.parse::<u16>().is_ok_and(|port| port > 0) {
                    let detail = format!("the port `{port}` is out of range [1, 65535]");
                    self.error(pointer, Code::OutOfRange, detail);
                }
                host
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
    fn expectations(&mut self, test: &TestSpec, probe: u8, pointer: &str) {
        let expect = &test.expect;
        let known = [
            ("loss", expect.loss.is_some(), PING | UDP),
            ("rtt", expect.rtt.is_some(), PING | TCP | UDP | HTTP),
            ("connect", expect.connect.is_some(), TCP | UDP | HTTP),
            ("reply", expect.reply.is_some(), TCP | UDP),
            ("status", expect.status.is_some(), HTTP),
            ("within", expect.within.is_some(), PING | TCP | UDP | HTTP),
            ("bodyContains", expect.body_contains.is_some(), HTTP),
            ("servedBy", expect.served_by.is_some(), TCP | UDP | HTTP),
            ("path", expect.path.is_some(), PING | TCP | UDP | HTTP),
            ("spread", expect.spread.is_some(), PING | TCP | UDP | HTTP),
        ];
        for (key, is_there, who) in known {
            if is_there && who & probe == 0 {
                let names = [("ping", PING), ("tcp", TCP), ("udp", UDP), ("http", HTTP)];
                let fits: Vec<&str> = names
                    .into_iter()
                    .filter(|(_, bit)| who & bit != 0)
                    .map(|(name, _)| name)
                    .collect();
                let detail = format!("`{key}` can be expected of {} only", fits.join(", "));
                self.error(&pointer_to(pointer, key), Code::Conflict, detail);
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
