//! The bytes of a recorded message on one device.

use crate::extension::{Copy, Registry};
use crate::ids::{AccountId, LogPosition};
use crate::jid::{BareJid, FullJid};
use crate::outbox::Form;
use crate::record::{Keep, MessageRecord};
use crate::seal::Seal;
use crate::stanza::{NS_CLIENT, write_head};

/// What all copies in one account have in common.
pub struct Renderer<'a> {
    pub registry: &'a Registry,
    pub ids: &'a Seal,
    pub account: AccountId,
    pub owner: &'a BareJid,
}

/// Whether the time of recording is written into the copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delay {
    /// The copy is written as it happens.
    Live,
    /// The copy comes later, so it says when it was recorded (XEP-0203).
    Late,
    /// What is around it says when it was recorded (XEP-0297 §3.2).
    Elsewhere,
}

impl Renderer<'_> {
    /// Appends a copy for a device.
    pub fn copy(&self, out: &mut Vec<u8>, record: &MessageRecord, form: Form, device: &FullJid, late: bool) {
        let Form::Wrapped(wrapping) = form else {
            return self.message(out, record, None, if late { Delay::Late } else { Delay::Live });
        };
        let attributes = [
            ("from", Some(self.owner.as_str())),
            ("to", Some(device.as_str())),
            ("type", Some(record.kind.as_str())),
        ];
        write_head(out, "message", &attributes);
        out.push(b'>');
        out.extend_from_slice(wrapping.open.as_bytes());
        if late && let Some((place, _)) = record.place(self.account) {
            // XEP-0297 §3.2: beside the forwarded message, not in it.
            let delayed = Some(place.position.0);
            self.stamp(out, &Copy { owner: self.owner, id: None, delayed, payload: None });
        }
        self.message(out, record, Some(NS_CLIENT), Delay::Elsewhere);
        out.extend_from_slice(wrapping.close.as_bytes());
        out.extend_from_slice(b"</message>");
    }

    /// Appends the message itself, with what the server adds to it; `xmlns` where it stands inside of another
    /// namespace.
    pub fn message(&self, out: &mut Vec<u8>, record: &MessageRecord, xmlns: Option<&str>, delay: Delay) {
        let attributes = [
            ("xmlns", xmlns),
            ("from", Some(record.from.as_str())),
            ("to", Some(record.to.as_str())),
            ("type", Some(record.kind.as_str())),
            ("id", record.id.as_deref()),
            ("xml:lang", record.lang.as_deref()),
        ];
        write_head(out, "message", &attributes);
        out.push(b'>');
        out.extend_from_slice(record.payload.text().as_bytes());
        if let Some((place, _)) = record.place(self.account) {
            let id = (place.keep == Keep::Archive).then(|| self.id(place.position));
            let delayed = (delay == Delay::Late).then_some(place.position.0);
            let payload = Some(&record.payload);
            let copy = Copy { owner: self.owner, id: id.as_deref(), delayed, payload };
            self.stamp(out, &copy);
        }
        out.extend_from_slice(b"</message>");
    }

    fn stamp(&self, out: &mut Vec<u8>, copy: &Copy<'_>) {
        for stamp in &self.registry.stamp {
            stamp(out, copy);
        }
    }

    /// The archive id of a position in this account's log.
    pub fn id(&self, position: LogPosition) -> compact_str::CompactString {
        self.ids.seal(position.0, self.account.0)
    }
}
