//! # XEP-0494: Client Access Management
//!
//! Follows 0.1.0 (2024-09-17). What has access to an account, shown to its owner, who may take it back.
//!
//! - State: none of its own. Devices and what gives them access are the core's (`devices`, `access`).
//! - Ours: who may list is the owner alone, and whether there is such an account does not show. A device whose access is
//!   taken back loses its sessions (`not-authorized`), its tokens and all that extensions keep for it, and this is durable
//!   before it is told.
//! - §6: how long devices are remembered, and whether their names are, the configuration says (`[devices]`).
//! - Ours: for a device that does not say what it is, its resource stands in `<device/>`.
//! - Left out: grants (§3.1), and with them permissions other than `unrestricted`, for nothing but a password lets anybody
//!   in; a `<uri/>`, which XEP-0388 does not have.

use unisono_core::datetime::format_utc;
use unisono_core::devices::DeviceInfo;
use unisono_core::error::{Condition, StanzaError, StreamCondition};
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::stanza::IqType;
use unisono_xml::Element;

pub const NS: &str = "urn:xmpp:cam:0";

pub struct ClientAccess;

impl Extension for ClientAccess {
    fn spec(&self) -> Spec {
        Spec::xep(494, "0.1.0")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::OwnAccount, NS);
        on.iq(Entity::OwnAccount, IqType::Get, (NS, "list"), list);
        on.iq(Entity::OwnAccount, IqType::Set, (NS, "revoke"), revoke);
        on.forbid_others((NS, "list")).forbid_others((NS, "revoke"));
    }
}

/// §3.1
fn list(request: &Request) -> Answer {
    let cell = request.account.as_ref().ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let devices = request.hub.devices(cell);
    Ok(Reply::with(Element::builder("clients", NS).children(devices.iter().map(client)).build()))
}

fn client(device: &DeviceInfo) -> Element {
    let text = |name, text: &str| Element::builder(name, NS).text(text).build();
    let time = |name, at: i64| text(name, &format_utc(at));
    let auth = Element::builder("auth", NS)
        .child_opt(device.has_password.then(|| Element::new("password", NS)))
        .child_opt(device.has_token.then(|| Element::new("fast", NS)));
    let software = device.software.as_deref().map(|said| text("software", said));
    let name = device.name.as_deref().or(device.resource.as_deref()).map(|said| text("device", said));
    let agent = Element::builder("user-agent", NS).child_opt(software).child_opt(name);
    Element::builder("client", NS)
        .attr("id", device.id.as_str())
        .attr("type", "session")
        .attr("connected", if device.session.is_some() { "true" } else { "false" })
        .child_opt(device.first_seen.map(|at| time("first-seen", at)))
        .child(time("last-seen", device.last_seen))
        .child(auth.build())
        .child(Element::builder("permission", NS).attr("status", "unrestricted").build())
        .child(agent.build())
        .build()
}

/// §3.2
fn revoke(request: &Request) -> Answer {
    let id = request.payload.attr("id").ok_or(StanzaError::new(Condition::BadRequest))?;
    let cell = request.account.as_ref().ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let devices = request.hub.devices(cell);
    let device = devices.iter().find(|device| device.id == id);
    let device = device.ok_or(StanzaError::new(Condition::ItemNotFound))?;
    if device.has_password {
        let application = Some(Element::new("password-reset-required", NS));
        let mut error = StanzaError::new(Condition::ServiceUnavailable);
        error.application = application;
        return Err(error);
    }
    tracing::info!(account = %cell.jid, device = device.id.as_str(), "a user has taken the access of a device back");
    let (_, ticket) = request.hub.end_device(cell, device.device, &StreamCondition::NotAuthorized);
    Ok(Reply::empty().after(ticket))
}

#[cfg(test)]
mod tests {
    use unisono_core::ids::DeviceId;
    use unisono_core::stanza::CLIENT_SCOPE;

    use super::*;

    #[test]
    fn a_client_is_told_as_far_as_it_is_known() {
        let known = DeviceInfo {
            id: "x1".into(),
            device: DeviceId(1),
            resource: None,
            software: Some("A client".into()),
            name: Some("J\u{fc}rgen's <phone>".into()),
            first_seen: Some(1_680_791_168_000_000),
            last_seen: 1_680_791_845_000_000,
            has_password: true,
            has_token: true,
            session: Some(("phone".into(), false)),
        };
        let old = DeviceInfo {
            resource: Some("desk".into()),
            software: None,
            name: None,
            first_seen: None,
            has_password: false,
            has_token: false,
            session: None,
            ..known.clone()
        };
        for (device, want) in [
            (
                known,
                "<client xmlns='urn:xmpp:cam:0' id='x1' type='session' connected='true'>\
                 <first-seen>2023-04-06T14:26:08.000000Z</first-seen><last-seen>2023-04-06T14:37:25.000000Z</last-seen>\
                 <auth><password/><fast/></auth><permission status='unrestricted'/><user-agent>\
                 <software>A client</software><device>J\u{fc}rgen's &lt;phone&gt;</device></user-agent></client>",
            ),
            (
                old,
                "<client xmlns='urn:xmpp:cam:0' id='x1' type='session' connected='false'>\
                 <last-seen>2023-04-06T14:37:25.000000Z</last-seen><auth/><permission status='unrestricted'/>\
                 <user-agent><device>desk</device></user-agent></client>",
            ),
        ] {
            assert_eq!(client(&device).to_string_in(&CLIENT_SCOPE), want);
        }
    }
}
