//! Finds the file, reads it, applies `--set`, and tells of all problems at once.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::check;
use super::files;
use super::keys::Config;
use super::problem::{ConfigError, Place, Problem};
use super::read::{Reader, Source};
use super::suggest::{did_you_mean, nearest};

/// The file that is read when none is named: here, in the current directory.
pub const DEFAULT_FILE: &str = "unisono.toml";
/// And here.
pub const SYSTEM_FILE: &str = "/etc/unisono/unisono.toml";

/// A configuration and where it comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is configured.
    pub config: Config,
    /// The file, if one was read.
    pub file: Option<PathBuf>,
    /// Where each key was written.
    places: Places,
}

/// Where keys were written, by their path such as `limits.window`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    keys: BTreeMap<String, Place>,
    file: Option<String>,
}

impl Places {
    /// A problem with a key: at its line, or in the file where a default is the problem.
    pub(crate) fn problem(&self, key: &str, message: &str) -> Problem {
        let place = self.keys.get(key).cloned().or_else(|| self.file.as_deref().map(Place::file));
        Problem::new(place, format!("{}: {message}", super::read::shown(key)))
    }
}

/// Reads the configuration: `file`, or the first of [`DEFAULT_FILE`] and [`SYSTEM_FILE`] that exists,
/// or none; then `sets`, each `section.key=value`. The values are checked on their own and together,
/// but not against the machine: for that there is [`Loaded::check_files`].
pub fn load(file: Option<&Path>, sets: &[String]) -> Result<Loaded, ConfigError> {
    let file = find(file);
    let text = match &file {
        None => None,
        Some(path) => Some(File::read(path)?),
    };
    let (mut config, places) = parse(text.as_ref(), sets, Path::new(""))?;
    let base = text.map(|text| text.base).unwrap_or_default();
    if !places.keys.contains_key("server.data_dir") {
        config.server.data_dir = base.join(config.server.data_dir);
    }
    config.settle();
    Ok(Loaded { config, file, places })
}

/// The defaults with `sets` applied, relative paths made absolute; for a file that is to be written.
pub(crate) fn defaults_with(sets: &[String]) -> Result<Config, ConfigError> {
    let here = std::env::current_dir().unwrap_or_default();
    Ok(parse(None, sets, &here)?.0)
}

/// Reads a text as `unisono.toml` in the directory `base`.
#[cfg(test)]
pub(crate) fn read_text(text: &str, base: &str, sets: &[&str]) -> Result<Config, ConfigError> {
    let file = File { name: DEFAULT_FILE.to_owned(), content: text.to_owned(), base: base.into() };
    let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
    let (mut config, _) = parse(Some(&file), &sets, Path::new(""))?;
    config.settle();
    Ok(config)
}

impl Loaded {
    /// Checks what the configuration points to: certificate files can be read, the data directory can
    /// be written or created.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        ConfigError::check(files::problems(&self.config, &self.places))
    }
}

fn find(file: Option<&Path>) -> Option<PathBuf> {
    let usual = || [DEFAULT_FILE, SYSTEM_FILE].into_iter().map(PathBuf::from).find(|path| path.exists());
    file.map(Path::to_owned).or_else(usual)
}

/// A file as it was read.
struct File {
    /// The name that problems show.
    name: String,
    content: String,
    /// Where its relative paths start.
    base: PathBuf,
}

impl File {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let base = path.parent().map(Path::to_owned).unwrap_or_default();
        match std::fs::read_to_string(path) {
            Ok(content) => Ok(Self { name, content, base }),
            Err(error) => Err(ConfigError::from(Problem::new(Some(Place::file(&name)), cannot_read(&error)))),
        }
    }
}

/// Reads and checks everything; relative paths of `sets` start at `here`.
fn parse(file: Option<&File>, sets: &[String], here: &Path) -> Result<(Config, Places), ConfigError> {
    let mut parse = Parse { config: Config::unsettled(), places: Places::default(), problems: Vec::new() };
    if let Some(file) = file {
        parse.file(file);
    }
    for set in sets {
        parse.set(set, here);
    }
    let Parse { config, places, problems } = parse;
    ConfigError::check(problems)?;
    ConfigError::check(check::problems(&config, &places))?;
    Ok((config, places))
}

struct Parse {
    config: Config,
    places: Places,
    problems: Vec<Problem>,
}

impl Parse {
    /// Reads a document. Where its grammar is wrong its keys are not looked at: what a parser makes of
    /// the rest would be a guess.
    fn file(&mut self, file: &File) {
        let source = Source::File { name: &file.name, text: &file.content };
        let mut reader = Reader::new(source, &file.base);
        let (document, errors) = DeTable::parse_recoverable(&file.content);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            let message = grammar(&file.content, span.start, error);
            reader.note(span, message);
        }
        if errors.is_empty() {
            reader.document(&mut self.config, document.get_ref());
        }
        self.finish(reader);
        self.places.file = Some(file.name.clone());
    }

    fn set(&mut self, set: &str, base: &Path) {
        let problem = |key: &str, message: String| Problem::new(Some(Place::argument(key)), message);
        let Some((path, text)) = set.split_once('=') else {
            self.problems.push(problem(set, "write --set section.key=value".to_owned()));
            return;
        };
        let (path, text) = (path.trim(), text.trim());
        let keys = Config::all_keys();
        let Some((section, key)) = path.split_once('.').filter(|path| keys.contains(path)) else {
            self.problems.push(problem(path, format!("unknown key \"{path}\"{}", near_path(path))));
            return;
        };
        let value = DeValue::parse(text).unwrap_or_else(|_| Spanned::new(0..0, DeValue::String(text.into())));
        let entry = |name: &str, value| -> DeTable<'_> {
            DeTable::from_iter([(Spanned::new(0..0, name.to_owned().into()), value)])
        };
        let table = Spanned::new(0..0, DeValue::Table(entry(key, value)));
        let mut reader = Reader::new(Source::Argument { key: path, value: text }, base);
        reader.document(&mut self.config, &entry(section, table));
        self.finish(reader);
    }

    fn finish(&mut self, reader: Reader<'_>) {
        let (problems, places) = reader.finish();
        self.problems.extend(problems);
        self.places.keys.extend(places);
    }
}

/// The key that was probably meant; without its section it is looked for in all of them.
fn near_path(path: &str) -> String {
    let keys = Config::all_keys();
    let meant = if path.contains('.') { None } else { nearest(path, keys.iter().map(|(_, key)| *key)) };
    if let Some((section, key)) = keys.iter().find(|(_, key)| Some(*key) == meant) {
        return format!("; did you mean \"{section}.{key}\"?");
    }
    let paths: Vec<_> = keys.iter().map(|(section, key)| format!("{section}.{key}")).collect();
    did_you_mean(path, paths.iter().map(String::as_str))
}

fn cannot_read(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file; `unisono init` writes one".to_owned(),
        io::ErrorKind::InvalidData => "is not text in UTF-8".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// What is wrong with the grammar. The usual slip gets a message of its own.
fn grammar(text: &str, start: usize, error: &Error) -> String {
    let (before, after) = text.split_at_checked(start).unwrap_or((text, ""));
    let head = before.rsplit('\n').next().unwrap_or_default();
    let line = format!("{head}{}", after.split('\n').next().unwrap_or_default());
    if let Some((key, value)) = line.split_once('=') {
        let (key, value) = (key.trim(), value.split('#').next().unwrap_or_default().trim());
        let is_bare = !value.is_empty() && !value.contains(['"', '\'', '[', '{', '=']);
        if is_bare && DeValue::parse(value).is_err() {
            return format!("the value needs quotes: {key} = \"{value}\"");
        }
    }
    error.message().lines().map(str::trim).collect::<Vec<_>>().join("; ")
}
