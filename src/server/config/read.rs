//! Walks a parsed TOML document by the list of keys and notes every problem with its line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::Config;
use super::problem::{Place, Problem};
use super::schema::Section;
use super::suggest::did_you_mean;

/// Where the text that is being read comes from.
pub(crate) enum Source<'a> {
    /// A file, by the name that problems show, with its text.
    File { name: &'a str, text: &'a str },
    /// `--set`: the key, and the value as it was typed.
    Argument { key: &'a str, value: &'a str },
}

/// What reading needs beside the value, and what it leaves behind.
pub(crate) struct Reader<'a> {
    source: Source<'a>,
    /// Relative paths start here.
    base: PathBuf,
    /// The key being read, such as `limits.window`.
    path: String,
    problems: Vec<Problem>,
    places: BTreeMap<String, Place>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: Source<'a>, base: &Path) -> Self {
        let base = base.to_owned();
        Self { source, base, path: String::new(), problems: Vec::new(), places: BTreeMap::new() }
    }

    /// Reads all tables of a document.
    pub(crate) fn document(&mut self, config: &mut Config, document: &DeTable<'_>) {
        for (name, value) in document {
            let span = name.span();
            let name: &str = name.get_ref();
            let DeValue::Table(table) = value.get_ref() else {
                self.outside_of_tables(name, span);
                continue;
            };
            name.clone_into(&mut self.path);
            if !config.read(name, table, self) {
                let near = did_you_mean(name, Config::SECTIONS.iter().copied());
                self.note(span, format!("unknown section [{name}]{near}"));
            }
        }
    }

    /// Reads the keys of one table.
    pub(crate) fn table<S: Section>(&mut self, section: &mut S, table: &DeTable<'_>) {
        for (name, value) in table {
            let span = name.span();
            let name: &str = name.get_ref();
            let Some(key) = S::KEYS.iter().find(|key| key.name == name) else {
                self.unknown_key::<S>(name, span);
                continue;
            };
            let parent = self.path.clone();
            self.path = format!("{parent}.{name}");
            self.places.insert(self.path.clone(), self.place(span));
            (key.read)(section, value, self);
            self.path = parent;
        }
    }

    /// Reads a table that stands in a list, in which `required` keys must be.
    pub(crate) fn element_table<S: Section>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: &str,
        required: &[&str],
    ) -> Option<S> {
        let DeValue::Table(table) = value.get_ref() else {
            return self.expected(value, what);
        };
        let mut section = S::default();
        self.table(&mut section, table);
        for missing in required.iter().filter(|name| !table.keys().any(|key| key.get_ref() == **name)) {
            self.refuse::<()>(value, &format!("\"{missing}\" is missing"));
        }
        Some(section)
    }

    /// Reads one element of a list; its keys are noted as `tls.certificate[0].cert`.
    pub(crate) fn element<T>(
        &mut self,
        index: usize,
        span: Range<usize>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let parent = self.path.clone();
        self.path = format!("{parent}[{index}]");
        self.places.insert(self.path.clone(), self.place(span));
        let value = read(self);
        self.path = parent;
        value
    }

    /// Notes a problem with the value of the key that is being read.
    pub(crate) fn refuse<T>(&mut self, value: &Spanned<DeValue<'_>>, message: &str) -> Option<T> {
        let message = format!("{}: {message}", shown(&self.path));
        self.note(value.span(), message);
        None
    }

    /// Notes that the value is of the wrong type.
    pub(crate) fn expected<T>(&mut self, value: &Spanned<DeValue<'_>>, what: &str) -> Option<T> {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.refuse(value, &format!("expected {what}, found {found}"))
    }

    /// The value as text. On the command line quotes may be left out.
    pub(crate) fn text<'v>(&self, value: &'v Spanned<DeValue<'_>>) -> Option<Cow<'v, str>> {
        match (value.get_ref(), &self.source) {
            (DeValue::String(text), _) => Some(Cow::Borrowed(text)),
            (DeValue::Array(_) | DeValue::Table(_), _) | (_, Source::File { .. }) => None,
            (_, Source::Argument { value, .. }) => Some(Cow::Owned((*value).to_owned())),
        }
    }

    /// The directory that relative paths start at.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Whether the value was given with `--set`.
    pub(crate) fn is_argument(&self) -> bool {
        matches!(self.source, Source::Argument { .. })
    }

    /// Notes a problem with the text at `span`.
    pub(crate) fn note(&mut self, span: Range<usize>, message: impl Into<String>) {
        let place = self.place(span);
        self.problems.push(Problem::new(Some(place), message));
    }

    /// What was found: problems, and where each key was written.
    pub(crate) fn finish(self) -> (Vec<Problem>, BTreeMap<String, Place>) {
        (self.problems, self.places)
    }

    fn place(&self, span: Range<usize>) -> Place {
        match &self.source {
            Source::File { name, text } => {
                let before = text.get(..span.start).unwrap_or(text);
                let line = before.matches('\n').count().saturating_add(1);
                Place::line(name, line)
            }
            Source::Argument { key, .. } => Place::argument(key),
        }
    }

    fn unknown_key<S: Section>(&mut self, name: &str, span: Range<usize>) {
        let near = did_you_mean(name, S::names());
        let hint = if near.is_empty() { belongs_in(name) } else { near };
        let section = shown(&self.path);
        self.note(span, format!("unknown key \"{name}\" in [{section}]{hint}"));
    }

    fn outside_of_tables(&mut self, name: &str, span: Range<usize>) {
        let hint = belongs_in(name);
        let message = if Config::SECTIONS.contains(&name) {
            format!("\"{name}\" is a section, write [{name}] and its keys below")
        } else if hint.is_empty() {
            let near = did_you_mean(name, Config::all_keys().into_iter().map(|(_, key)| key));
            format!("unknown key \"{name}\" outside of any section{near}")
        } else {
            format!("key \"{name}\" stands outside of any section{hint}")
        };
        self.note(span, message);
    }
}

/// `; it belongs in [server]`, if exactly such a key exists there.
fn belongs_in(name: &str) -> String {
    let home = Config::all_keys().into_iter().find(|(_, key)| *key == name);
    home.map(|(section, _)| format!("; it belongs in [{section}]")).unwrap_or_default()
}

/// A key as people write it: `tls.certificate[0].cert` is `tls.certificate.cert`.
pub(crate) fn shown(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|c| {
            let keep = !inside && *c != '[';
            inside = *c == '[' || inside && *c != ']';
            keep
        })
        .collect()
}
