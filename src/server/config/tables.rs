//! Keys that hold a list of tables.

use std::path::Path;

use toml::Spanned;
use toml::de::DeValue;

use super::domain::Domain;
use super::keys::{Certificate, Component, Relay};
use super::read::Reader;
use super::sample;
use super::setting::{Setting, Text as _, list_toml};
use super::texts::Host;

/// A `[[tls.certificate]]`, or an element of an inline list.
impl Setting for Certificate {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.element_table(value, "a table with cert and key", &["cert", "key"])
    }

    fn toml(&self) -> String {
        let (domains, cert, key) = (list_toml(&self.domains), self.cert.toml(), self.key.toml());
        format!("{{ domains = {domains}, cert = {cert}, key = {key} }}")
    }

    fn show_list(list: &[Self], _: &str, mark: &str) -> String {
        let example = [Self {
            domains: Domain::new("example.org").into_iter().collect(),
            cert: "/etc/unisono/fullchain.pem".into(),
            key: "/etc/unisono/privkey.pem".into(),
        }];
        let list = if list.is_empty() { &example } else { list };
        let tables = list.iter().map(|one| format!("{mark}[[tls.certificate]]\n{}", sample::keys(one, mark)));
        tables.collect()
    }
}

/// A `[[components.allow]]`, or an element of an inline list.
impl Setting for Component {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.element_table(value, "a table with name and secret", &["name", "secret"])
    }

    fn toml(&self) -> String {
        format!("{{ name = {}, secret = {} }}", self.name.toml(), self.secret.toml())
    }

    fn show_list(list: &[Self], _: &str, mark: &str) -> String {
        let example = Domain::new("gateway.example.org").map(|name| Self { name, ..Self::default() });
        let example = example.into_iter().collect::<Vec<_>>();
        let list = if list.is_empty() { &example } else { list };
        let tables =
            list.iter().map(|one| format!("{mark}[[components.allow]]\n{}", sample::keys(one, mark)));
        tables.collect()
    }
}

/// A `[[calls.relay]]`, or an element of an inline list.
impl Setting for Relay {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.element_table(value, "a table with kind and host", &["kind", "host"])
    }

    fn toml(&self) -> String {
        format!(
            "{{ kind = {}, host = {}, port = {}, transport = {}, secret = {}, password_for = {} }}",
            self.kind.toml(),
            self.host.toml(),
            self.port.toml(),
            self.transport.toml(),
            self.secret.toml(),
            self.password_for.toml()
        )
    }

    fn show_list(list: &[Self], _: &str, mark: &str) -> String {
        let host = Host::parse("turn.example.org", Path::new("")).unwrap_or_default();
        let example = [Self { host, ..Self::default() }];
        let list = if list.is_empty() { &example } else { list };
        let tables = list.iter().map(|one| format!("{mark}[[calls.relay]]\n{}", sample::keys(one, mark)));
        tables.collect()
    }
}
