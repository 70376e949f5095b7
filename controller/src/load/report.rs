//! Mistakes with their places, as people read them on a terminal.

use std::fmt;

use super::tree::{MAX_ANCHORS, MAX_DEPTH, MAX_VALUES, Span, Tree};
use crate::problem::{Code, FieldError};

/// What is wrong with a file. Prints each mistake with place, excerpt and suggestion.
#[derive(Clone, PartialEq, Eq)]
pub struct LoadErrors {
    file: String,
    text: String,
    errors: Vec<Located>,
}

/// A mistake and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The mistake.
    pub error: FieldError,
    /// Its place; `None` where it concerns the file as a whole.
    pub at: Option<Span>,
}

/// Most mistakes that are kept, the first of the file.
const MAX_SHOWN: usize = 50;

impl LoadErrors {
    pub(super) fn new(file: &str, text: &str) -> Self {
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            errors: Vec::new(),
        }
    }

    /// One mistake that keeps the rest from being read.
    pub(super) fn whole(
        file: &str,
        text: &str,
        at: Option<Span>,
        code: Code,
        detail: String,
    ) -> Self {
        let mut errors = Self::new(file, text);
        errors.errors.push(Located {
            error: FieldError::new("", code, detail),
            at,
        });
        errors
    }

    /// Adds a mistake at the place that its pointer names.
    pub(super) fn add(&mut self, tree: &Tree, error: FieldError) {
        let (key, part, found) = tree.locate(&error.pointer);
        let is_about_key = !found
            || matches!(
                error.code,
                Code::UnknownField | Code::NotSupported | Code::InvalidName | Code::MissingField
            );
        let at = match key {
            Some(key) if is_about_key => key.at,
            _ => part.at,
        };
        let located = Located { error, at };
        let place = self.errors.partition_point(|known| known.at <= located.at);
        self.errors.insert(place, located);
        self.errors.truncate(MAX_SHOWN);
    }

    /// The file's name as the user gave it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The mistakes in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Located> {
        self.errors.iter()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    fn write_one(&self, f: &mut fmt::Formatter<'_>, located: &Located) -> fmt::Result {
        let Located { error, at } = located;
        write!(f, "error: {}", self.file)?;
        if let Some(Span { line, column, .. }) = at {
            write!(f, ":{line}:{column}")?;
        }
        writeln!(f, ": {}", error.detail)?;
        if let Some(at) = at
            && let Some(line) = self.text.lines().nth(at.line - 1)
        {
            write_excerpt(f, line, *at)?;
        }
        if let Some(name) = &error.did_you_mean {
            writeln!(f, "  help: did you mean `{name}`?")?;
        } else if !error.allowed.is_empty() {
            let names: Vec<String> = error
                .allowed
                .iter()
                .map(|name| format!("`{name}`"))
                .collect();
            writeln!(f, "  help: expected one of {}", names.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, located) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.write_one(f, located)?;
        }
        Ok(())
    }
}

impl fmt::Debug for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for LoadErrors {}

/// Characters shown of a line, and how many of them before the mark.
const WIDTH: usize = 110;
const BEFORE: usize = 40;

/// The line with a mark under the span. A long line is cut around it.
fn write_excerpt(f: &mut fmt::Formatter<'_>, line: &str, at: Span) -> fmt::Result {
    let characters: Vec<char> = line
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mark = (at.column - 1).min(characters.len());
    let start = if characters.len() <= WIDTH {
        0
    } else {
        mark.saturating_sub(BEFORE)
    };
    let end = characters.len().min(start + WIDTH);
    let shown: String = characters[start..end].iter().collect();
    let width = at.len.clamp(1, (end.max(mark + 1)) - mark);
    let margin = at.line.to_string().len();
    writeln!(f, "{:margin$} |", "")?;
    writeln!(f, "{} | {shown}", at.line)?;
    writeln!(
        f,
        "{:margin$} | {:indent$}{}",
        "",
        "",
        "^".repeat(width),
        indent = mark - start
    )
}

/// What the YAML reader says, without the place that is printed anyway.
pub(super) fn yaml_message(error: &serde_saphyr::Error) -> String {
    let message = error.without_snippet().to_string();
    let message = message.lines().next().unwrap_or_default();
    let cut = message.find(" at line ").unwrap_or(message.len());
    let message = &message[..cut];
    if let Some(rest) = message.strip_prefix("duplicate mapping key: ") {
        let key = rest.split(", set ").next().unwrap_or(rest);
        format!("the key `{key}` is there twice")
    } else if message.starts_with("recursive references") {
        "the alias contains itself".to_owned()
    } else if message.starts_with("budget breached: Documents") {
        "a second document begins here, a topology file has one".to_owned()
    } else if let Some(limit) = message.strip_prefix("budget breached: ") {
        limit_message(limit)
    } else if message == "recursion limit exceeded" {
        limit_message("Depth")
    } else if message.starts_with("alias ") && message.contains(" exceeded") {
        limit_message("Alias")
    } else {
        message.to_owned()
    }
}

/// Which of the reader's limits the file breaks.
fn limit_message(limit: &str) -> String {
    let kind = limit.split([' ', '{']).next().unwrap_or(limit);
    match kind {
        "Depth" => format!("nested deeper than {MAX_DEPTH} levels"),
        "Nodes" | "Events" => {
            format!("the file has more than the {MAX_VALUES} values that are read")
        }
        "Anchors" => format!("the file has more than the {MAX_ANCHORS} anchors that are read"),
        "Alias" | "Aliases" | "AliasAnchorRatio" | "RecordedAnchorEvents" => {
            "the file's aliases stand for more than is read".to_owned()
        }
        _ => format!("the file is larger than what is read ({limit})"),
    }
}
