//! What a new extension starts from. A test builds it, so that it follows the API of `core`.

/// What is to be written into the templates.
#[derive(Debug, Clone)]
pub(crate) struct Blanks {
    pub(crate) number: u16,
    pub(crate) title: String,
    pub(crate) version: String,
    pub(crate) date: String,
    pub(crate) namespace: String,
    pub(crate) type_name: String,
}

const MODULE: &str = r#"//! # XEP-@NUMBER@: @TITLE@
//!
//! Follows @VERSION@ (@DATE@). One sentence: what a user has from it.
//!
//! - Stages: `annotate`.
//! - Left out: everything.

use unisono_core::extension::{Child, Extension, Registry, Spec};
use unisono_core::hub::Settings;
use unisono_core::jid::Jid;
use unisono_xml::Element;

pub const NS: &str = "@NS@";

pub struct @TYPE@;

impl Extension for @TYPE@ {
    fn spec(&self) -> Spec {
        Spec::xep(@PLAIN@, "@VERSION@").partial("everything")
    }

    fn register(&self, on: &mut Registry) {
        on.annotate(refuse_forged);
    }
}

/// What only a server may say is taken out of what users send. A handler is a function of what it is given: it names the
/// section that it follows, and does not send, store or wait.
fn refuse_forged(child: &Element, _from: &Jid, _: &Settings) -> Child {
    if child.is("forged", NS) { Child::Remove } else { Child::Keep }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{element, settings};

    #[test]
    fn what_users_may_not_say() {
        let from = "eve@other.example/x".parse().unwrap();
        for (child, verdict) in [
            ("<forged xmlns='@NS@'/>", Child::Remove),
            ("<allowed xmlns='@NS@'/>", Child::Keep),
            ("<forged xmlns='urn:example:other'/>", Child::Keep),
        ] {
            assert_eq!(refuse_forged(&element(child), &from, &settings()), verdict, "{child}");
        }
    }
}
"#;

const SCRIPT: &str = "spec: XEP-@NUMBER@ §1
says: A chat message that carries an element of @NS@ arrives as it was sent.

alice/phone is online
bob/desk is online
alice and bob are friends

alice/phone sends:
  <message to='{bob/desk}' type='chat' id='m1'><body>Good morrow, cousin.</body><note xmlns='@NS@'>1</note></message>
bob/desk receives:
  <message from='{alice/phone}' to='{bob/desk}' type='chat' id='m1'><body>Good morrow, cousin.</body><note xmlns='@NS@'>1</note></message>
bob/desk receives nothing more
";

impl Blanks {
    /// The text of the module.
    pub(crate) fn module(&self) -> String {
        self.fill(MODULE)
    }

    /// The text of its first script.
    pub(crate) fn script(&self) -> String {
        self.fill(SCRIPT)
    }

    fn fill(&self, template: &str) -> String {
        [
            ("@NUMBER@", format!("{:04}", self.number).as_str()),
            ("@PLAIN@", self.number.to_string().as_str()),
            ("@TITLE@", &self.title),
            ("@VERSION@", &self.version),
            ("@DATE@", &self.date),
            ("@NS@", &self.namespace),
            ("@TYPE@", &self.type_name),
        ]
        .iter()
        .fold(template.to_owned(), |text, (blank, value)| text.replace(blank, value))
    }
}
