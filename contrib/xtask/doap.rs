//! `contrib/doap.xml`: what is implemented, for programs (XEP-0453).

use std::fmt::Write;

use anyhow::{Context, Result};

use crate::catalogue::Entry;
use crate::root::Root;
use crate::{streams, table};

pub(crate) const PATH: &str = "contrib/doap.xml";

/// The RFCs of the core.
const RFCS: &[u16] = &[6120, 6121, 7590, 7622];

/// The whole file.
pub(crate) fn text(root: &Root, entries: &[Entry]) -> Result<String> {
    let repository = repository(root)?;
    let mut out = format!(
        "<?xml version='1.0' encoding='UTF-8'?>
<!-- Written by `cargo xtask xeps` from the modules. Do not edit. -->
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'
         xmlns='http://usefulinc.com/ns/doap#'
         xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>
  <Project>
    <name>Unisono</name>
    <shortdesc xml:lang='en'>An XMPP server whose users' devices all hold the same conversation</shortdesc>
    <homepage rdf:resource='{repository}'/>
    <license rdf:resource='https://www.apache.org/licenses/LICENSE-2.0'/>
    <programming-language>Rust</programming-language>
    <os>Linux</os>
    <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>
    <repository>
      <GitRepository>
        <browse rdf:resource='{repository}'/>
      </GitRepository>
    </repository>
",
        repository = escape(&repository)
    );
    for rfc in RFCS {
        let _ = writeln!(out, "    <implements rdf:resource='https://xmpp.org/rfcs/rfc{rfc}.html'/>");
    }
    for supported in all(entries) {
        out.push_str(&supported.to_xml());
    }
    out.push_str("  </Project>\n</rdf:RDF>\n");
    Ok(out)
}

/// One XEP as the file tells it.
struct Supported {
    number: u16,
    version: String,
    is_complete: bool,
    note: String,
}

/// All of them, by number.
fn all(entries: &[Entry]) -> Vec<Supported> {
    let on_the_road = entries.iter().map(|entry| Supported {
        number: entry.spec.number,
        version: entry.spec.version.to_owned(),
        is_complete: entry.spec.missing.is_empty(),
        note: table::left_out(entry),
    });
    let below = streams::ALL.iter().map(|below| Supported {
        number: below.number,
        version: below.version.to_owned(),
        is_complete: true,
        note: String::new(),
    });
    let mut all: Vec<Supported> = on_the_road.chain(below).collect();
    all.sort_by_key(|supported| supported.number);
    all
}

impl Supported {
    /// XEP-0453 §4.2
    fn to_xml(&self) -> String {
        let status = if self.is_complete { "complete" } else { "partial" };
        let note = match self.note.as_str() {
            "" => String::new(),
            note => format!("        <xmpp:note xml:lang='en'>Left out: {}</xmpp:note>\n", escape(note)),
        };
        format!(
            "    <implements>
      <xmpp:SupportedXep>
        <xmpp:xep rdf:resource='https://xmpp.org/extensions/xep-{:04}.html'/>
        <xmpp:status>{status}</xmpp:status>
        <xmpp:version>{}</xmpp:version>
{note}      </xmpp:SupportedXep>
    </implements>
",
            self.number,
            escape(&self.version)
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;")
}

/// Where the project is at home, as the root manifest says it.
fn repository(root: &Root) -> Result<String> {
    let manifest: toml::Table = root.read("Cargo.toml")?.parse()?;
    let found = ["workspace", "package", "repository"]
        .iter()
        .try_fold(toml::Value::Table(manifest), |value, key| value.get(key).cloned())
        .and_then(|value| value.as_str().map(str::to_owned));
    found.context("Cargo.toml names no repository in [workspace.package]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_xep_is_told_with_its_status_and_note() {
        let supported =
            Supported { number: 45, version: "1.35".into(), is_complete: false, note: "<x/> & y".into() };
        let xml = supported.to_xml();
        for part in [
            "xep-0045.html",
            "<xmpp:status>partial</xmpp:status>",
            "<xmpp:version>1.35</xmpp:version>",
            "Left out: &lt;x/&gt; &amp; y</xmpp:note>",
        ] {
            assert!(xml.contains(part), "{part}\n{xml}");
        }
        let complete = Supported { is_complete: true, note: String::new(), ..supported };
        assert!(complete.to_xml().contains("<xmpp:status>complete</xmpp:status>"));
        assert!(!complete.to_xml().contains("note"));
    }
}
