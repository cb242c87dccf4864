//! Extensions below the road of a message: they are agreed on before there is an account to hang a handler on, or they
//! are rules that the whole server keeps. They have no module in `xeps/`, so they are listed here.

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Below {
    pub(crate) number: u16,
    pub(crate) title: &'static str,
    pub(crate) version: &'static str,
    /// The file that does it, and says so.
    pub(crate) home: &'static str,
}

/// By number. `cargo xtask tidy` looks whether each home still names its XEP.
pub(crate) const ALL: &[Below] = &[
    below(82, "XMPP Date and Time Profiles", "1.1.1", "src/core/datetime.rs"),
    below(114, "Jabber Component Protocol", "1.6", "src/net/component/mod.rs"),
    below(368, "SRV records for XMPP over TLS", "1.1.0", "src/net/tls/mod.rs"),
    below(386, "Bind 2", "1.1.0", "src/core/bind2.rs"),
    below(388, "Extensible SASL Profile", "1.0.4", "src/net/negotiation/inline.rs"),
    below(438, "Best practices for password hashing and storage", "0.2.0", "src/net/sasl/mod.rs"),
    below(440, "SASL Channel-Binding Type Capability", "1.0.0", "src/net/sasl/offer.rs"),
    below(474, "SASL SCRAM Downgrade Protection", "0.5.0", "src/net/sasl/offer.rs"),
    below(478, "Stream Limits Advertisement", "0.2.0", "src/net/limits.rs"),
    below(484, "Fast Authentication Streamlining Tokens", "0.2.0", "src/net/negotiation/fast.rs"),
    below(509, "Initial Authentication Pipelining", "0.2.0", "src/net/negotiation/pipelining.rs"),
    below(515, "TLS Channel-Binding Downgrade Protection", "0.1.0", "src/net/sasl/offer.rs"),
];

const fn below(number: u16, title: &'static str, version: &'static str, home: &'static str) -> Below {
    Below { number, title, version, home }
}
