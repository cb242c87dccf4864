//! Addresses: any text.
//!
//! - An address has one form: written and read it is the same, by its whole and by its parts.
//! - A part has 1 to 1023 bytes, and nothing that would cut the address elsewhere.
//! - Two spellings that are one address for us are one for the stringprep of RFC 6122, too, by which older servers and
//!   clients compare (the crate `jid`); what is ASCII has the same form there.

use unisono_core::jid::{BareJid, FullJid, Jid, JidError, JidPart, PART_BYTES_MAX, opaque_string};

pub(crate) fn target(data: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(data);
    let text = text.as_ref();
    password(text);
    let theirs = ::jid::Jid::new(text);
    match text.parse::<Jid>() {
        Ok(jid) => {
            has_one_form(&jid);
            has_parts(&jid);
            compare(text, &jid, theirs.as_ref().ok());
            let kinds =
                [jid.local().is_some(), jid.is_full(), jid.as_str() == text, text.is_ascii(), theirs.is_ok()];
            kinds.iter().fold(jid.domain().len().min(3) as u64, |sum, kind| 2 * sum + u64::from(*kind))
        }
        Err(error) => {
            assert!(text.parse::<BareJid>().is_err() && text.parse::<FullJid>().is_err(), "{text:?}");
            if theirs.is_ok() && text.is_ascii() {
                assert!(is_known(text, error), "{text:?} is refused: {error}");
            }
            let text: String = error.to_string();
            text.bytes().fold(1 << 20, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)))
        }
    }
}

fn has_one_form(jid: &Jid) {
    let again: Jid = jid.as_str().parse().unwrap_or_else(|error| panic!("{jid:?} is no address: {error}"));
    assert_eq!(&again, jid);
    let bare = jid.to_bare();
    assert_eq!(bare.as_str().parse::<BareJid>().as_ref(), Ok(&bare));
    assert_eq!(BareJid::new(jid.local(), jid.domain()).as_ref(), Ok(&bare));
    assert_eq!(BareJid::domain_jid(jid.domain()), Ok(jid.to_domain()));
    let Some(resource) = jid.resource() else {
        assert_eq!(jid.clone().try_into_bare(), Some(bare));
        return;
    };
    let full = jid.clone().try_into_full().unwrap();
    assert_eq!(bare.with_resource(resource).as_ref(), Ok(&full));
    assert_eq!(FullJid::new(jid.local(), jid.domain(), resource), Ok(full));
}

fn has_parts(jid: &Jid) {
    let parts = [jid.local(), Some(jid.domain()), jid.resource()];
    for part in parts.into_iter().flatten() {
        assert!((1..=PART_BYTES_MAX).contains(&part.len()), "{} bytes in {jid:?}", part.len());
        assert!(!part.chars().any(char::is_control), "a control character in {jid:?}");
    }
    // RFC 7622 §3.3.1
    let excluded = ['"', '&', '\'', '/', ':', '<', '>', '@', ' '];
    assert!(!jid.local().unwrap_or_default().contains(excluded), "{jid:?}");
    assert!(!jid.domain().contains(['@', '/', ' ']), "{jid:?}");
    // Whoever compares without regard to case in ASCII finds no second account.
    let is_lower = |part: &str| !part.bytes().any(|byte| byte.is_ascii_uppercase());
    assert!(is_lower(jid.local().unwrap_or_default()), "{jid:?}");
    let zone = jid.domain().starts_with('[');
    assert!(zone || is_lower(jid.domain()), "{jid:?}");
}

/// RFC 8265 §4.2: what comes out goes in again as it is, unless it has grown beyond what is looked at.
fn password(text: &str) {
    let Some(prepared) = opaque_string(text) else { return };
    assert!(!prepared.is_empty(), "{text:?}");
    if prepared.len() <= 3 * PART_BYTES_MAX {
        assert_eq!(opaque_string(&prepared).as_deref(), Some(prepared.as_ref()), "{text:?}");
    }
}

fn compare(text: &str, ours: &Jid, theirs: Option<&::jid::Jid>) {
    let Some(theirs) = theirs else {
        // The crate knows no zones (RFC 6874), and a last dot (§3.2) behind names alone.
        let is_known = !text.is_ascii() || text.contains("%25") || text.contains("].");
        assert!(is_known, "{text:?} is {ours:?} for nobody else");
        return;
    };
    let domain = domain_of(text).to_ascii_lowercase();
    if domain.ends_with(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']) {
        // The crate keeps the root's dot, and then takes a part of the domain for one of the resource.
        return;
    }
    // It keeps A-labels and the spelling of an IPv6 address.
    let is_plain = text.is_ascii() && !domain.contains("xn--") && !domain.contains('[');
    if is_plain {
        assert_eq!(ours.as_str(), theirs.as_str(), "{text:?}");
    }
    if let Ok(again) = ::jid::Jid::new(ours.as_str()) {
        // They keep a domain as it is written.
        assert_eq!(
            (again.node(), again.resource()),
            (theirs.node(), theirs.resource()),
            "{text:?} is {ours:?}"
        );
    }
}

/// ASCII that the crate takes for an address, and that is none by RFC 7622.
fn is_known(text: &str, error: JidError) -> bool {
    let (_, resource) = text.split_once('/').unwrap_or((text, ""));
    let domain = domain_of(text);
    match error {
        // §3.2: labels of the DNS; the crate takes what the host of a URL may have, such as `_` and `!`.
        JidError::DomainName => {
            domain.bytes().any(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'.'))
        }
        // IDNA2008 has no symbols, whatever they are written as.
        JidError::Character(JidPart::Domain, _) => domain.to_ascii_lowercase().contains("xn--"),
        // §3.5, example 18
        JidError::Character(JidPart::Resource, ' ') => resource.starts_with(' '),
        _ => false,
    }
}

/// RFC 7622 §3.2: between the first `@` before the first `/`, and that.
fn domain_of(text: &str) -> &str {
    let bare = text.split('/').next().unwrap_or_default();
    bare.split_once('@').map_or(bare, |(_, domain)| domain)
}
