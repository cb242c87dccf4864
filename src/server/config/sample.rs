//! The documented sample that `unisono init` writes.

use super::keys::Config;
use super::schema::Section;

const HEAD: &str = "\
# The configuration of Unisono.
#
# A line that begins with \"#\" and a key shows the default: take the \"#\" away to change it.
# `unisono check` tells whether the file is right. Changes take effect at the next start.
";

/// The mark of a key that has its default.
const DEFAULT: &str = "#";

/// The whole configuration as a file: every key with its documentation. Keys that have their default
/// are shown in a comment.
pub fn sample(config: &Config) -> String {
    format!("{HEAD}{}", config.describe())
}

/// Appends one table.
pub(crate) fn describe<S: Section>(name: &str, section: &S, out: &mut String) {
    out.push('\n');
    comment(S::ABOUT, out);
    out.extend(["[", name, "]\n"]);
    let default = S::default();
    for key in S::KEYS {
        comment(key.doc, out);
        let (value, usual) = ((key.show)(section, ""), (key.show)(&default, ""));
        let mark = if value == usual { DEFAULT } else { "" };
        out.push_str(&(key.show)(section, mark));
    }
}

/// The keys of an element of a list of tables, each with its documentation.
pub(crate) fn keys<S: Section>(section: &S, mark: &str) -> String {
    let mut out = String::new();
    for key in S::KEYS {
        comment(key.doc, &mut out);
        out.push_str(&(key.show)(section, mark));
    }
    out
}

fn comment(lines: &[&str], out: &mut String) {
    for line in lines {
        out.push('#');
        out.push_str(line);
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;
    use crate::config::load::{defaults_with, read_text};
    use crate::config::{Certificate, Relay};

    fn loaded(text: &str) -> Config {
        read_text(text, "", &[]).unwrap()
    }

    /// Takes the mark of a comment from every line that is a key.
    fn uncommented(sample: &str) -> String {
        let is_key = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
        let lines =
            sample.lines().map(|line| line.strip_prefix('#').filter(|rest| is_key(rest)).unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_sample_gives_the_defaults_with_and_without_its_comment_marks() {
        let sample = sample(&Config::unsettled());
        assert_eq!(loaded(&sample), Config::default());
        let without_examples = ["#[[tls.certificate]]", "#[[calls.relay]]", "#[[components.allow]]"]
            .iter()
            .fold(sample, |text, mark| {
                let (before, rest) = text.split_once(mark).unwrap();
                let (_, after) = rest.split_once("\n\n").unwrap();
                format!("{before}\n{after}")
            });
        assert_eq!(loaded(&uncommented(&without_examples)), Config::default());
    }

    #[test]
    fn every_key_is_in_the_sample_with_its_documentation() {
        let text = uncommented(&sample(&Config::unsettled()));
        let document: toml::Table = text.parse().unwrap();
        for (section, key) in Config::all_keys() {
            assert!(document[section].as_table().unwrap().contains_key(key), "{section}.{key}");
        }
        let certificate = document["tls"]["certificate"][0].as_table().unwrap();
        assert!(Certificate::names().all(|key| certificate.contains_key(key)), "{certificate}");
        let relay = document["calls"]["relay"][0].as_table().unwrap();
        assert!(Relay::names().all(|key| relay.contains_key(key)), "{relay}");
        for (line, next) in text.lines().zip(text.lines().skip(1)) {
            let is_key = next.contains(" = ") && !next.starts_with('#');
            assert!(!is_key || line.starts_with("# "), "without documentation: {next}");
            assert!(line.chars().count() <= 110, "{line}");
        }
    }

    #[test]
    fn what_differs_from_the_defaults_stands_uncommented() {
        let sets = ["server.domains=example.org".to_owned(), "limits.idle_timeout=1h".to_owned()];
        let text = sample(&defaults_with(&sets).unwrap());
        let plain: Vec<_> =
            text.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty()).collect();
        assert_eq!(plain, ["domains = [\"example.org\"]", "idle_timeout = \"1h\""]);
    }
}
