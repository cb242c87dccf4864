//! What is announced to one stream, and what follows from having announced it.
//!
//! Follows XEP-0440 1.0.0 (2025-12-08). Types of channel binding and `-PLUS` mechanisms are announced together or not at
//! all, and `tls-server-end-point` is always among the types: to a client, anything else is the work of somebody in
//! between (§3, rules 1 and 4 to 6).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    channel_binding::{BindingType, Channel, ChannelBindings},
    failure::{Refusal, SaslFailure},
    hash::Hash,
    mechanism::Mechanism,
    token::TokenMechanism,
};

/// What the configuration allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The hashes of SCRAM.
    pub hashes: Vec<Hash>,
    /// PLAIN, inside TLS.
    pub plain: bool,
    /// The attributes of XEP-0474 (`h`) and XEP-0515 (`t`) in SCRAM's first message. Clients that do not
    /// know them ignore them (RFC 5802 §5.1).
    pub downgrade_protection: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { hashes: Hash::ALL.into(), plain: true, downgrade_protection: true }
    }
}

/// What one stream is offered. It must be announced exactly as it stands here: clients compare.
#[derive(Debug, Clone)]
pub struct Offer {
    mechanisms: Vec<Mechanism>,
    channel: Channel,
    downgrade_protection: bool,
}

impl Offer {
    /// What `policy` allows on `channel`: PLAIN inside TLS only, `-PLUS` where there is a binding.
    pub fn new(policy: &Policy, channel: Channel) -> Self {
        let bound = matches!(&channel, Channel::Tls(_));
        let mechanisms = Mechanism::ALL
            .into_iter()
            .filter(|mechanism| match mechanism {
                Mechanism::Plain => policy.plain && channel != Channel::Clear,
                Mechanism::Scram(hash) => policy.hashes.contains(hash),
                Mechanism::ScramPlus(hash) => bound && policy.hashes.contains(hash),
                Mechanism::Token(_) => false,
            })
            .collect();
        Self { mechanisms, channel, downgrade_protection: policy.downgrade_protection }
    }

    /// For `<mechanisms/>`, or for `<authentication/>` of XEP-0388, the strongest first.
    pub fn mechanisms(&self) -> &[Mechanism] {
        &self.mechanisms
    }

    /// For `<fast/>` (XEP-0484 §3.1): never outside TLS.
    pub fn token_mechanisms(&self) -> impl Iterator<Item = TokenMechanism> {
        let bindings = self.bindings();
        TokenMechanism::ALL.into_iter().filter(move |mechanism| {
            let has = |binding| bindings.is_some_and(|bindings| bindings.data(binding).is_some());
            bindings.is_some() && mechanism.binding().is_none_or(has)
        })
    }

    /// For `<sasl-channel-binding/>` (XEP-0440 §2). Without any, that element is left out.
    pub fn binding_types(&self) -> impl Iterator<Item = BindingType> {
        // §3, rule 5: where no mechanism can use them, a client would have to give up.
        let usable = self.bindings().filter(|_| self.has_binding());
        usable.into_iter().flat_map(ChannelBindings::types)
    }

    /// Whether a `-PLUS` mechanism is offered: a client that says it saw none was deceived.
    pub(super) fn has_binding(&self) -> bool {
        self.mechanisms.iter().any(|mechanism| matches!(mechanism, Mechanism::ScramPlus(_)))
    }

    /// The data of a channel binding that was announced.
    pub(super) fn binding_data(&self, name: &str) -> Option<&[u8]> {
        let wanted = BindingType::parse(name)?;
        self.binding_types().find(|offered| *offered == wanted).and_then(|_| self.bindings()?.data(wanted))
    }

    /// The data of a channel binding that a token may be bound to.
    pub(super) fn channel_data(&self, binding: BindingType) -> Option<&[u8]> {
        self.bindings()?.data(binding)
    }

    /// The mechanism `name`, if it is offered.
    pub(super) fn select(&self, name: &str) -> Result<Mechanism, Refusal> {
        let Some(mechanism) = Mechanism::parse(name) else {
            return Err(SaslFailure::InvalidMechanism.because("unknown mechanism"));
        };
        if self.mechanisms.contains(&mechanism) {
            return Ok(mechanism);
        }
        Err(match mechanism {
            Mechanism::Plain if self.channel == Channel::Clear => {
                SaslFailure::EncryptionRequired.because("PLAIN outside TLS")
            }
            Mechanism::ScramPlus(_) => SaslFailure::InvalidMechanism.because("no channel binding here"),
            Mechanism::Plain | Mechanism::Scram(_) | Mechanism::Token(_) => {
                SaslFailure::MechanismTooWeak.because("mechanism switched off")
            }
        })
    }

    /// What is appended to SCRAM's first message from the server, with its leading comma.
    pub(super) fn downgrade_attributes(&self, hash: Hash) -> String {
        if !self.downgrade_protection {
            return String::new();
        }
        let digest = hash.digest(self.announced().as_bytes());
        let mut attributes = format!(",h={}", STANDARD.encode(digest));
        if let Some(bindings) = self.bindings() {
            attributes.push_str(",t=");
            attributes.push_str(bindings.version.as_hex());
        }
        attributes
    }

    /// XEP-0474 §6.1: all that was announced, sorted by octets.
    fn announced(&self) -> String {
        let sorted = |mut names: Vec<&str>| {
            names.sort_unstable();
            names.join("\u{1e}")
        };
        let mut text = sorted(self.mechanisms.iter().map(|mechanism| mechanism.as_str()).collect());
        let types: Vec<_> = self.binding_types().map(BindingType::as_str).collect();
        if !types.is_empty() {
            text.push('\u{1f}');
            text.push_str(&sorted(types));
        }
        text
    }

    fn bindings(&self) -> Option<&ChannelBindings> {
        match &self.channel {
            Channel::Clear => None,
            Channel::Tls(bindings) => Some(bindings),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::{super::TlsVersion, *};

    fn tls(exporter: bool) -> Channel {
        Channel::Tls(ChannelBindings {
            version: TlsVersion::Tls13,
            exporter: exporter.then_some([1; 32]),
            end_point: Arc::from([2; 32]),
        })
    }

    fn names(offer: &Offer) -> String {
        offer.mechanisms().iter().map(|mechanism| mechanism.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_channel_and_the_policy_decide_what_is_offered() {
        let all = Policy::default();
        let sha1 = Policy { hashes: vec![Hash::Sha1], plain: false, ..Policy::default() };
        let plain = Policy { hashes: vec![], ..Policy::default() };
        for (policy, channel, want) in [
            (&all, Channel::Clear, "SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1"),
            (&plain, tls(true), "PLAIN"),
            (
                &all,
                tls(true),
                "SCRAM-SHA-512-PLUS SCRAM-SHA-512 SCRAM-SHA-256-PLUS SCRAM-SHA-256 \
                 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN",
            ),
            (&sha1, Channel::Clear, "SCRAM-SHA-1"),
            (&sha1, tls(false), "SCRAM-SHA-1-PLUS SCRAM-SHA-1"),
        ] {
            assert_eq!(names(&Offer::new(policy, channel)), want);
        }
    }

    /// XEP-0440 §3: rule 1, and rules 4 and 5.
    #[test]
    fn types_and_mechanisms_of_channel_binding_are_announced_together() {
        let plain = Policy { hashes: vec![], ..Policy::default() };
        let both = vec!["tls-exporter", "tls-server-end-point"];
        for (policy, channel, types) in [
            (Policy::default(), tls(true), both),
            (Policy::default(), tls(false), vec!["tls-server-end-point"]),
            (Policy::default(), Channel::Clear, vec![]),
            (plain, tls(true), vec![]),
        ] {
            let offer = Offer::new(&policy, channel);
            let announced: Vec<_> = offer.binding_types().map(BindingType::as_str).collect();
            assert_eq!(announced, types);
            assert_eq!(names(&offer).contains("-PLUS"), !types.is_empty());
            for name in ["tls-exporter", "tls-server-end-point", "tls-unique", ""] {
                assert_eq!(offer.binding_data(name).is_some(), types.contains(&name), "{name}");
            }
        }
    }

    #[test]
    fn what_is_not_offered_is_refused_with_its_condition() {
        let weak_off = Policy { hashes: vec![Hash::Sha256], plain: false, ..Policy::default() };
        for (policy, channel, name, want) in [
            (Policy::default(), tls(true), "", SaslFailure::InvalidMechanism), // RFC 6120 §6.5.7
            (Policy::default(), tls(true), "DIGEST-MD5", SaslFailure::InvalidMechanism),
            (Policy::default(), tls(true), "scram-sha-256", SaslFailure::InvalidMechanism),
            (Policy::default(), Channel::Clear, "PLAIN", SaslFailure::EncryptionRequired), // §6.5.4
            (Policy::default(), Channel::Clear, "SCRAM-SHA-1-PLUS", SaslFailure::InvalidMechanism),
            (weak_off.clone(), tls(true), "PLAIN", SaslFailure::MechanismTooWeak), // §6.5.9
            (weak_off.clone(), tls(true), "SCRAM-SHA-1", SaslFailure::MechanismTooWeak),
            (weak_off, tls(true), "SCRAM-SHA-1-PLUS", SaslFailure::InvalidMechanism),
        ] {
            let refusal = Offer::new(&policy, channel).select(name).unwrap_err();
            assert_eq!(refusal.failure, want, "{name}");
        }
    }

    /// The hash of XEP-0474 §6.3, and the version that XEP-0515 §4.3 adds to it.
    #[test]
    fn the_announcement_is_hashed_as_in_the_example() {
        let policy = Policy { hashes: vec![Hash::Sha1], plain: false, ..Policy::default() };
        let offer = Offer::new(&policy, tls(true));
        assert_eq!(
            offer.announced(),
            "SCRAM-SHA-1\u{1e}SCRAM-SHA-1-PLUS\u{1f}tls-exporter\u{1e}tls-server-end-point"
        );
        assert_eq!(offer.downgrade_attributes(Hash::Sha1), ",h=G6k/rBLDqgOhRRaCuuatSDFkJ08=,t=0304");

        let clear = Offer::new(&policy, Channel::Clear);
        assert_eq!(clear.announced(), "SCRAM-SHA-1"); // §6.1, step 3: no types, no separator
        assert!(!clear.downgrade_attributes(Hash::Sha1).contains("t="));
        let off = Policy { downgrade_protection: false, ..policy };
        assert_eq!(Offer::new(&off, tls(true)).downgrade_attributes(Hash::Sha1), "");
    }
}
