//! Names in files: ranges (`h[1-8]`) and globs (`leaf*`).
//!
//! A range stands for several names and says them all; a glob picks from names that exist. Both may be mixed:
//! `agg[1-2]*` is `agg1*` and `agg2*`.

use std::collections::BTreeSet;

/// Most names that one range may stand for.
const MAX_NAMES: usize = 10_000;

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// A bracket without its partner.
    #[error("`{0}` has a bracket without its partner")]
    Unbalanced(String),
    /// Something else than numbers in the brackets.
    #[error("`[{0}]` is no range, for example `[1-8]`")]
    NotANumber(String),
    /// The end comes before the start.
    #[error("`[{0}]` is empty: its end comes before its start")]
    Backwards(String),
    /// More names than allowed.
    #[error("`{0}` stands for more than {MAX_NAMES} names")]
    TooMany(String),
}

/// Why a text cannot be looked up in DNS, where it cannot: names have labels of at most 63 bytes, and at most 253 bytes
/// altogether (RFC 1035 section 2.3.4); what ends in a number is a mistaken address.
pub fn dns_name_problem(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte);
        (1..=63).contains(&label.len()) && label.bytes().all(is_good)
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = name.len() <= 253
        && name.split('.').all(is_label)
        && !name.rsplit('.').next().is_some_and(is_number);
    (!is_name).then(|| format!("`{text}` is no DNS name, for example `web.example`"))
}

/// The names that a text stands for, in order: itself where it holds no range.
///
/// Numbers keep their leading zeros: `[08-10]` is `08`, `09`, `10`. Several ranges count like an odometer.
///
/// # Errors
///
/// When brackets are used otherwise.
pub fn expand(text: &str) -> Result<Vec<String>, RangeError> {
    let mut names = vec![String::new()];
    let mut rest = text;
    while let Some(open) = rest.find(['[', ']']) {
        let (before, bracket) = rest.split_at(open);
        let inside = bracket
            .strip_prefix('[')
            .and_then(|inside| inside.split_once(']'));
        let Some((range, after)) = inside else {
            return Err(RangeError::Unbalanced(text.to_owned()));
        };
        let numbers = numbers(range)?;
        if names.len().saturating_mul(numbers.len()) > MAX_NAMES {
            return Err(RangeError::TooMany(text.to_owned()));
        }
        names = names
            .iter()
            .flat_map(|name| {
                numbers
                    .iter()
                    .map(move |number| format!("{name}{before}{number}"))
            })
            .collect();
        rest = after;
    }
    for name in &mut names {
        name.push_str(rest);
    }
    Ok(names)
}

fn numbers(range: &str) -> Result<Vec<String>, RangeError> {
    let mut found = Vec::new();
    for part in range.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            let digits = text.trim();
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| digits.parse::<u32>().ok()).flatten()
        };
        let (Some(first), Some(last)) = (number(low), number(high)) else {
            return Err(RangeError::NotANumber(range.to_owned()));
        };
        if last < first {
            return Err(RangeError::Backwards(range.to_owned()));
        }
        if usize::try_from(last - first).map_or(true, |count| count + found.len() >= MAX_NAMES) {
            return Err(RangeError::TooMany(format!("[{range}]")));
        }
        let width = if low.trim().starts_with('0') {
            low.trim().len()
        } else {
            0
        };
        found.extend((first..=last).map(|number| format!("{number:0width$}")));
    }
    Ok(found)
}

/// Whether a text picks from names instead of saying one.
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether a glob fits a name: `*` is any text, `?` any one character.
pub fn glob_matches(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<char>, Vec<char>) = (glob.chars().collect(), name.chars().collect());
    let (mut g, mut n) = (0, 0);
    // Where to go on when the text after the last `*` does not fit: one character further.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match glob.get(g) {
            Some('*') => {
                retry = Some((g + 1, n));
                g += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                g += 1;
                n += 1;
            }
            _ => {
                let Some((after, from)) = retry else {
                    return false;
                };
                retry = Some((after, from + 1));
                g = after;
                n = from + 1;
            }
        }
    }
    glob[g..].iter().all(|&c| c == '*')
}

/// The names that a pattern of ranges and globs picks, in the order of the pattern, then of `names`, each once.
///
/// # Errors
///
/// When brackets are used otherwise than for ranges.
pub fn select<'a>(
    pattern: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<Vec<&'a str>, RangeError> {
    let patterns = expand(pattern)?;
    let known: BTreeSet<&str> = match patterns.as_slice() {
        [_] => BTreeSet::new(),
        _ => names.clone().collect(),
    };
    let mut seen = BTreeSet::new();
    let mut found: Vec<&str> = Vec::new();
    for pattern in &patterns {
        if is_glob(pattern) {
            let fits = names.clone().filter(|name| glob_matches(pattern, name));
            found.extend(fits.filter(|name| seen.insert(*name)));
        } else {
            let name = match patterns.as_slice() {
                [_] => names.clone().find(|name| name == pattern),
                _ => known.get(pattern.as_str()).copied(),
            };
            found.extend(name.filter(|name| seen.insert(*name)));
        }
    }
    Ok(found)
}

/// What is wrong with the name of a node or another resource, if anything.
pub fn name_problem(name: &str) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 253 {
        Some(format!(
            "the name `{name}` has {} characters, allowed are 1 to 253",
            name.len()
        ))
    } else if let Some(wrong) = name.chars().find(|c| !is_allowed(*c)) {
        Some(format!(
            "the name `{name}` contains `{wrong}`, allowed are letters, digits, `.`, `_` and `-`"
        ))
    } else if name == "." || name == ".." {
        Some(format!("`{name}` is no name"))
    } else {
        None
    }
}

/// Longest name of an interface, in bytes (Linux's `IFNAMSIZ` less its terminator).
pub const MAX_INTERFACE: usize = 15;

/// What is wrong with the name of an interface, if anything.
pub fn interface_problem(name: &str) -> Option<String> {
    if name.len() > MAX_INTERFACE {
        Some(format!(
            "the interface name `{name}` has {} characters, at most {MAX_INTERFACE} are allowed",
            name.len()
        ))
    } else if name == "lo" {
        Some("`lo` is the loopback interface of every host".to_owned())
    } else {
        name_problem(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_expand_in_order() {
        assert_eq!(expand("h[1-3]").unwrap(), ["h1", "h2", "h3"]);
        assert_eq!(
            expand("a[1-2]:p[1-2]").unwrap(),
            ["a1:p1", "a1:p2", "a2:p1", "a2:p2"]
        );
        assert_eq!(expand("x[08-10]").unwrap(), ["x08", "x09", "x10"]);
        assert_eq!(expand("x[1,4-5]").unwrap(), ["x1", "x4", "x5"]);
        assert_eq!(expand("plain").unwrap(), ["plain"]);
    }

    #[test]
    fn wrong_ranges_are_named() {
        assert_eq!(
            expand("h[3-1]"),
            Err(RangeError::Backwards("3-1".to_owned()))
        );
        assert_eq!(
            expand("h[a-b]"),
            Err(RangeError::NotANumber("a-b".to_owned()))
        );
        assert_eq!(
            expand("h[1-8"),
            Err(RangeError::Unbalanced("h[1-8".to_owned()))
        );
        assert!(matches!(
            expand("h[1-4000000000]"),
            Err(RangeError::TooMany(_))
        ));
        assert!(matches!(
            expand("h[1-999][1-999]"),
            Err(RangeError::TooMany(_))
        ));
    }

    #[test]
    fn selection_mixes_ranges_and_globs() {
        let names = ["agg11", "agg12", "agg21", "core1", "core2"];
        let pick = |pattern| select(pattern, names.into_iter()).unwrap();
        assert_eq!(pick("agg*1"), ["agg11", "agg21"]);
        assert_eq!(pick("core[2-3]"), ["core2"]);
        assert_eq!(pick("agg[1-2]?"), ["agg11", "agg12", "agg21"]);
        assert!(pick("nobody").is_empty());
    }

    proptest! {
        #[test]
        fn globs_agree_with_a_naive_matcher(glob in "[ab*?]{0,6}", name in "[ab]{0,6}") {
            fn naive(glob: &[u8], name: &[u8]) -> bool {
                match (glob.split_first(), name.split_first()) {
                    (None, _) => name.is_empty(),
                    (Some((b'*', rest)), _) => (0..=name.len()).any(|skip| naive(rest, &name[skip..])),
                    (Some((g, rest)), Some((n, tail))) => (*g == b'?' || g == n) && naive(rest, tail),
                    (Some(_), None) => false,
                }
            }
            prop_assert_eq!(glob_matches(&glob, &name), naive(glob.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            let _ = expand(&text);
        }
    }
}
