//! What is offered at each station of the way (RFC 6120 §4.3.2).

use compact_str::CompactString;
use unisono_core::binding::{NS_BIND, NS_SESSION};
use unisono_core::stanza::{CLIENT_SCOPE, NS_STREAMS};
use unisono_xml::{Element, ElementBuilder};

use super::{NS_SASL, NS_SASL2, NS_TLS, Terms, fast, pipelining};
use crate::limits::Limits;
use crate::sasl::Offer;

/// XEP-0440, version 1.0.0; the rules are in [`Offer`].
const NS_CHANNEL_BINDING: &str = "urn:xmpp:sasl-cb:0";
/// XEP-0478, version 0.2.0.
const NS_LIMITS: &str = "urn:xmpp:stream-limits:0";

/// Outside of TLS: TLS, and nothing else (§5.3.1).
pub(super) fn write_securing(out: &mut Vec<u8>) {
    let required = Element::new("required", NS_TLS);
    let starttls = Element::builder("starttls", NS_TLS).child(required).build();
    write(out, features().child(starttls));
}

pub(super) fn write_authenticating(out: &mut Vec<u8>, offer: &Offer, terms: &Terms) {
    let features = authenticating(offer, terms);
    let version = pipelining::feature(&features);
    write(out, features.to_builder().child(version));
}

/// Inside of TLS: authentication in either profile, to what it can be bound, and what may come together with it.
pub(super) fn authenticating(offer: &Offer, terms: &Terms) -> Element {
    let mechanisms = |list, ns: &'static str| {
        let names = offer.mechanisms().iter().map(|mechanism| mechanism.as_str());
        let mechanisms = names.map(move |name| Element::builder("mechanism", ns).text(name).build());
        Element::builder(list, ns).children(mechanisms)
    };
    // XEP-0388 §2.1: nothing can be begun without a mechanism.
    let extensible = (!offer.mechanisms().is_empty()).then(|| {
        let fast = fast::feature(offer);
        let inline = Element::builder("inline", NS_SASL2).child_opt(fast);
        let inline = inline.children(terms.inline.iter().cloned()).build();
        mechanisms("authentication", NS_SASL2).child(inline).build()
    });
    let types: Vec<_> = offer
        .binding_types()
        .map(|kind| {
            Element::builder("channel-binding", NS_CHANNEL_BINDING).attr("type", kind.as_str()).build()
        })
        .collect();
    let bindings = (!types.is_empty())
        .then(|| Element::builder("sasl-channel-binding", NS_CHANNEL_BINDING).children(types).build());
    let mechanisms = mechanisms("mechanisms", NS_SASL).build();
    let features = features().child(mechanisms).child_opt(extensible).child_opt(bindings);
    features.children(terms.early_features.iter().cloned()).build()
}

/// After authentication: binding, and what the extensions offer. Limits are announced here and not before, so that no
/// client takes the smaller ones that hold until now for the whole of its stream.
pub(super) fn write_binding(out: &mut Vec<u8>, limits: &Limits, of_extensions: &[Element]) {
    // RFC 3921 §3 demanded a session; this says that today nobody need ask.
    let session = Element::builder("session", NS_SESSION).child(Element::new("optional", NS_SESSION)).build();
    let binding = features().child(Element::new("bind", NS_BIND)).child(session);
    write(out, with_limits(binding, limits).children(of_extensions.iter().cloned()));
}

/// The same where a resource is bound already, together with the login (XEP-0386).
pub(super) fn write_bound(out: &mut Vec<u8>, limits: &Limits, of_extensions: &[Element]) {
    write(out, with_limits(features(), limits).children(of_extensions.iter().cloned()));
}

fn with_limits(features: ElementBuilder, limits: &Limits) -> ElementBuilder {
    let number = |name: &'static str, value: u64| {
        Element::builder(name, NS_LIMITS).text(CompactString::from(value.to_string())).build()
    };
    let limits = Element::builder("limits", NS_LIMITS)
        .child(number("max-bytes", limits.stanza_bytes_max as u64))
        .child(number("idle-seconds", limits.idle_after.as_secs()))
        .build();
    features.child(limits)
}

fn features() -> ElementBuilder {
    Element::builder("features", NS_STREAMS)
}

fn write(out: &mut Vec<u8>, features: ElementBuilder) {
    features.build().write_into(out, &CLIENT_SCOPE);
}
