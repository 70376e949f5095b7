//! P4 annotations, `@name` and `@name(arguments)`, as P4Info carries them.

/// The argument text of each annotation with this name, in order; empty for a bare `@name`.
pub fn get<'a>(annotations: &'a [String], name: &str) -> impl Iterator<Item = &'a str> {
    annotations
        .iter()
        .filter_map(move |annotation| match parse(annotation) {
            Some((found, arguments)) if found == name => Some(arguments),
            _ => None,
        })
}

/// Whether an annotation with this name is there.
pub fn has(annotations: &[String], name: &str) -> bool {
    get(annotations, name).next().is_some()
}

/// The first annotation's arguments, split at commas and trimmed; `None` where there is no such annotation.
pub fn args<'a>(annotations: &'a [String], name: &str) -> Option<Vec<&'a str>> {
    get(annotations, name).next().map(split)
}

/// Argument text split at commas and trimmed; nothing for empty text.
pub fn split(arguments: &str) -> Vec<&str> {
    if arguments.is_empty() {
        return Vec::new();
    }
    arguments.split(',').map(str::trim).collect()
}

/// Name and argument text of one annotation; quotes around the whole argument are taken away.
pub fn parse(annotation: &str) -> Option<(&str, &str)> {
    let body = annotation.trim().strip_prefix('@')?;
    let (name, arguments) = match body.split_once('(') {
        None => (body, ""),
        Some((name, rest)) => (name, rest.trim_end().strip_suffix(')')?.trim()),
    };
    let unquoted = arguments
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|inner| !inner.contains('"'))
        .unwrap_or(arguments);
    Some((name.trim(), unquoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found_by_name() {
        let annotations = [
            "@requires(eth_type=0x800|0x86dd)",
            "@requires( ip_proto=6 )",
            "@weft_flows",
            "@bit(pop_vlan, 3)",
            "@format(\"IPV4\")",
            "not an annotation",
            "@broken(",
        ]
        .map(String::from);

        let requires: Vec<_> = get(&annotations, "requires").collect();
        assert_eq!(requires, ["eth_type=0x800|0x86dd", "ip_proto=6"]);
        assert!(has(&annotations, "weft_flows"));
        assert!(!has(&annotations, "weft"));
        assert!(!has(&annotations, "broken"));
        assert_eq!(args(&annotations, "bit"), Some(vec!["pop_vlan", "3"]));
        assert_eq!(args(&annotations, "weft_flows"), Some(vec![]));
        assert_eq!(args(&annotations, "format"), Some(vec!["IPV4"]));
        assert_eq!(args(&annotations, "absent"), None);
    }
}
