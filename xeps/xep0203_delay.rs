//! # XEP-0203: Delayed Delivery
//!
//! Follows 2.0 (2009-09-15). What arrives late says when it was sent.
//!
//! - Stages: `annotate` (§5, forged notes), `deliver` (the note on late copies).
//! - Ours: a note in the name of this server, or of one of its accounts, is ours alone. A device may say that it sends
//!   late: without `from`, or with its own full address; then that is the one note (§2).

use unisono_core::datetime::format_utc;
use unisono_core::extension::{Child, Copy, Extension, Registry, Spec};
use unisono_core::hub::Settings;
use unisono_core::jid::Jid;
use unisono_core::record::Payload;
use unisono_xml::{Element, escape_attr_into};

pub use unisono_core::stanza::NS_DELAY as NS;

pub struct Delay;

impl Extension for Delay {
    fn spec(&self) -> Spec {
        Spec::xep(203, "2.0")
    }

    fn register(&self, on: &mut Registry) {
        on.annotate(refuse_forged);
        on.stamp(stamp);
    }
}

/// §5. What cannot be read as an address might be read as ours by others.
fn refuse_forged(child: &Element, _: &Jid, settings: &Settings) -> Child {
    let Some(from) = child.attr("from").filter(|_| child.is("delay", NS)) else { return Child::Keep };
    let is_forged = from.parse::<Jid>().map_or(true, |from| settings.serves(from.domain()) && from.is_bare());
    if is_forged { Child::Remove } else { Child::Keep }
}

/// §2: what was recorded before it is delivered. The server delayed it, so the note is in its name (§3, example 1). There
/// is one note only, and that of who sent it late says better when it was sent.
fn stamp(out: &mut Vec<u8>, copy: &Copy<'_>) {
    if let Some(recorded) = copy.delayed.filter(|_| !copy.payload.is_some_and(is_noted)) {
        write(out, Some(copy.owner.domain()), recorded);
    }
}

/// Stored payloads are texts, of which few are worth to be read.
fn is_noted(payload: &Payload) -> bool {
    payload.text().contains(NS) && payload.has("delay", NS)
}

/// Appends `<delay/>`; the time is in microseconds since 1970.
pub fn write(out: &mut Vec<u8>, from: Option<&str>, micros: i64) {
    out.extend_from_slice(b"<delay xmlns='");
    out.extend_from_slice(NS.as_bytes());
    if let Some(from) = from {
        out.extend_from_slice(b"' from='");
        escape_attr_into(out, from);
    }
    out.extend_from_slice(b"' stamp='");
    out.extend_from_slice(format_utc(micros).as_bytes());
    out.extend_from_slice(b"'/>");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::testing::{element, settings};

    #[test]
    fn notes_in_our_name_are_taken_out() {
        let eve = "eve@other.example/x".parse().unwrap();
        for (from, verdict) in [
            (" from='example.org'", Child::Remove), // §5
            (" from='EXAMPLE.org'", Child::Remove),
            (" from='alice@example.org'", Child::Remove),
            (" from='@@'", Child::Remove),
            (" from=''", Child::Remove),
            (" from='alice@example.org/phone'", Child::Keep), // §2, who originally sent it
            (" from='room@muc.elsewhere.net'", Child::Keep),
            (" from='elsewhere.net'", Child::Keep),
            ("", Child::Keep),
        ] {
            let delay = format!("<delay xmlns='{NS}'{from} stamp='2002-09-10T23:08:25Z'/>");
            assert_eq!(refuse_forged(&element(&delay), &eve, &settings()), verdict, "{delay}");
        }
        let other = element("<delay xmlns='urn:x' from='example.org'/>");
        assert_eq!(refuse_forged(&other, &eve, &settings()), Child::Keep);
    }

    #[test]
    fn late_copies_say_when_they_were_recorded() {
        let owner = "alice@example.org".parse().unwrap();
        let payload = |text: &str| Some(Payload::from_text(text));
        let ours = "<delay xmlns='urn:xmpp:delay' from='example.org' stamp='2002-09-10T23:08:25.000001Z'/>";
        let (late, own) =
            (Some(1_031_699_305_000_001), "<delay xmlns='urn:xmpp:delay' stamp='2002-09-10T20:00:00Z'/>");
        for (delayed, payload, note) in [
            (None, payload("<body>hi</body>"), ""),
            (late, payload("<body>hi</body>"), ours),
            (late, None, ours),                                    // around a copy of it
            (late, payload(&format!("<body>hi</body>{own}")), ""), // §2, one and only one
            (late, payload(&format!("<body>urn:xmpp:delay</body><x xmlns='urn:x'>{own}</x>")), ours),
            (None, payload(own), ""),
        ] {
            let mut out = Vec::new();
            stamp(&mut out, &Copy { owner: &owner, id: Some("1"), delayed, payload: payload.as_ref() });
            assert_eq!(String::from_utf8(out).unwrap(), note, "{payload:?}");
        }
    }
}
