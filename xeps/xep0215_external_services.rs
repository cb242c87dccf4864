//! # XEP-0215: External Service Discovery
//!
//! Follows 1.0.0 (2022-08-23). Servers that help devices to reach each other in a call, as the administrator lists them in
//! `[calls]`.
//!
//! - Ours: only users of this server are told. A password for a relay is made when somebody asks, by the rule that coturn
//!   and others check it by (draft-uberti-behave-turn-rest): the name is the time when it ends, and says nothing of the user.
//! - Left out: pushes (§3.2): what there is changes with a restart alone.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use unisono_core::datetime::format_utc;
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::hub::ExternalService;
use unisono_core::stanza::IqType;
use unisono_xml::{Element, ElementBuilder};

pub const NS: &str = "urn:xmpp:extdisco:2";

pub struct ExternalServices;

impl Extension for ExternalServices {
    fn spec(&self) -> Spec {
        Spec::xep(215, "1.0.0")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS);
        on.iq(Entity::Server, IqType::Get, (NS, "services"), services);
        on.iq(Entity::Server, IqType::Get, (NS, "credentials"), credentials);
    }
}

/// §3.1, and §3.2 with a type.
fn services(request: &Request) -> Answer {
    let wanted = request.payload.attr("type");
    let found = offered(request)?.iter().filter(|service| wanted.is_none_or(|kind| kind == service.kind));
    let now = request.hub.clock.now_micros();
    let list = Element::builder("services", NS);
    let list = wanted.into_iter().fold(list, |list, kind| list.attr("type", kind));
    Ok(Reply::with(list.children(found.map(|service| described(service, now))).build()))
}

/// §3.3
fn credentials(request: &Request) -> Answer {
    let asked = request.payload.child("service", NS).ok_or(StanzaError::new(Condition::BadRequest))?;
    let (Some(host), Some(kind)) = (asked.attr("host"), asked.attr("type")) else {
        return Err(StanzaError::new(Condition::BadRequest));
    };
    let port = asked.attr("port");
    let is_asked = |service: &&ExternalService| {
        let is_port = port.is_none_or(|port| port.parse() == Ok(service.port));
        service.host == host && service.kind == kind && is_port && service.secret.is_some()
    };
    let now = request.hub.clock.now_micros();
    let found: Vec<_> =
        offered(request)?.iter().filter(is_asked).map(|service| described(service, now)).collect();
    if found.is_empty() {
        return Err(StanzaError::new(Condition::ItemNotFound));
    }
    Ok(Reply::with(Element::builder("credentials", NS).children(found).build()))
}

/// What whoever asks may use.
fn offered(request: &Request) -> Result<&[ExternalService], StanzaError> {
    match &request.session {
        Some(_) => Ok(&request.hub.settings.services),
        None => Err(StanzaError::new(Condition::Forbidden)),
    }
}

fn described(service: &ExternalService, now_micros: i64) -> Element {
    let element = Element::builder("service", NS)
        .attr("type", service.kind)
        .attr("host", service.host.as_str())
        .attr("port", service.port.to_string())
        .attr("transport", service.transport);
    with_password(element, service, now_micros).build()
}

fn with_password(element: ElementBuilder, service: &ExternalService, now_micros: i64) -> ElementBuilder {
    const SECOND: i64 = 1_000_000;
    let Some((secret, good_for)) = &service.secret else { return element };
    let ends = (now_micros / SECOND).saturating_add_unsigned(good_for.as_secs());
    let name = ends.to_string();
    // A key of any length will do for HMAC.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return element };
    mac.update(name.as_bytes());
    let password = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let expires = format_utc(ends.saturating_mul(SECOND));
    element.attr("username", name).attr("password", password).attr("expires", expires)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::element;

    fn service(secret: Option<&str>) -> ExternalService {
        ExternalService {
            kind: "turn",
            host: "turn.example.org".to_owned(),
            port: 3478,
            transport: "udp",
            secret: secret.map(|secret| (secret.to_owned(), Duration::from_secs(3600))),
        }
    }

    #[test]
    fn a_service_without_a_secret_needs_no_password() {
        let want = "<service xmlns='urn:xmpp:extdisco:2' type='turn' host='turn.example.org' port='3478' transport='udp'/>";
        assert_eq!(described(&service(None), 0), element(want));
    }

    /// The password is what `openssl dgst -sha1 -hmac` makes of secret and name.
    #[test]
    fn a_password_is_good_for_a_while() {
        let described = described(&service(Some("north")), 1_700_000_000_999_999);
        assert_eq!(described.attr("username"), Some("1700003600"));
        assert_eq!(described.attr("expires"), Some("2023-11-14T23:13:20.000000Z"));
        assert_eq!(described.attr("password"), Some("xF4I6gruVt/PjGbjajGu2UlidPk="));
    }
}
