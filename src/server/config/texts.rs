//! Texts of a certain form.

use std::net::IpAddr;
use std::path::Path;

use unisono_core::jid::BareJid;

use super::domain::Domain;
use super::setting::Text;

/// An address to write to, as a URI (RFC 3986).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactUri(String);

impl ContactUri {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for ContactUri {
    const WHAT: &'static str =
        "an address such as \"mailto:admin@example.org\" or \"xmpp:admin@example.org\"";

    fn parse(text: &str, _: &Path) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once(':') else {
            let guess = text.contains('@').then(|| format!("; did you mean \"mailto:{text}\"?"));
            return Err(guess.unwrap_or_default());
        };
        // §3.1, and nothing that cannot stand in any part.
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let is_rest =
            !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && !"<>\"\\^`{|}".contains(c));
        if is_scheme && is_rest { Ok(Self(text.to_owned())) } else { Err(String::new()) }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A page of the web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageUri(String);

impl PageUri {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for PageUri {
    const WHAT: &'static str = "the address of a page such as \"https://example.org/invite\"";

    fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let is_web = ["https://", "http://"].iter().any(|scheme| {
            text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        });
        if !is_web || text.contains('#') {
            return Err(String::new());
        }
        ContactUri::parse(text, base).map(|_| Self(text.to_owned())).map_err(|_| String::new())
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// The address of an account, or a domain for all of its users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountJid(BareJid);

impl AccountJid {
    pub fn jid(&self) -> &BareJid {
        &self.0
    }
}

impl Text for AccountJid {
    const WHAT: &'static str = "an address such as \"alice@example.org\"";

    fn parse(text: &str, _: &Path) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| String::new())
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// A machine: its name or its IP address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for Host {
    const WHAT: &'static str = "the name of a machine or its IP address";

    fn parse(text: &str, _: &Path) -> Result<Self, String> {
        if text.parse::<IpAddr>().is_err() {
            Domain::new(text).map_err(|error| format!(": {error}"))?;
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// What nobody but the server may see. Empty for none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What it is, if there is one.
    pub fn reveal(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|secret| !secret.is_empty())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "…" })
    }
}

impl Text for Secret {
    const WHAT: &'static str = "a secret of printable characters";
    const MAY_SHOW: bool = false;

    fn parse(text: &str, _: &Path) -> Result<Self, String> {
        if text.chars().any(char::is_control) { Err(String::new()) } else { Ok(Self(text.to_owned())) }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_a_uri() {
        let parse = |text| ContactUri::parse(text, Path::new(""));
        for text in
            ["mailto:abuse@example.org", "xmpp:a@b.org?message", "https://example.org/status", "tel:+1-201"]
        {
            assert_eq!(parse(text).map(|uri| uri.text()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "example.org",
            ":a",
            "mailto:",
            "1a:b",
            "mailto:a b@c",
            "xmpp:\u{e4}@b",
            "a:<b>",
            "ma ilto:a",
        ] {
            assert_eq!(parse(text), Err(String::new()), "{text}");
        }
        assert_eq!(parse("a@b.org"), Err("; did you mean \"mailto:a@b.org\"?".to_owned()));
    }

    #[test]
    fn a_page_is_of_the_web() {
        let parse = |text| PageUri::parse(text, Path::new("")).is_ok();
        assert!(["https://example.org/invite", "http://localhost:80"].into_iter().all(parse));
        let wrong =
            ["", "https://", "https:///x", "mailto:a@b", "https://a/#b", "https://a b", "example.org"];
        assert!(!wrong.into_iter().any(parse));
    }

    #[test]
    fn an_account_has_no_resource() {
        let parse = |text| AccountJid::parse(text, Path::new("")).is_ok();
        assert!(parse("alice@example.org") && parse("example.org"));
        assert!(!["", "@example.org", "alice@", "alice@example.org/phone"].into_iter().any(parse));
    }

    #[test]
    fn a_host_has_a_name_or_a_number() {
        let parse = |text| Host::parse(text, Path::new("")).is_ok();
        assert!(["turn.example.org", "192.0.2.1", "2001:db8::1", "localhost"].into_iter().all(parse));
        assert!(
            !["", "a b", "turn.example.org:3478", "turn@example.org", "[2001:db8::1]:1"]
                .into_iter()
                .any(parse)
        );
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::parse("hush", Path::new("")).unwrap_or_default();
        assert_eq!((secret.reveal(), format!("{secret:?}").as_str()), (Some("hush"), "…"));
        assert_eq!(Secret::default().reveal(), None);
    }
}
