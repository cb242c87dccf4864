//! # XEP-0153: vCard-Based Avatars
//!
//! Follows 1.1.1 (2024-06-10). Presence tells the hash of the picture in the vCard.
//!
//! - Stage: `restate`. The picture is that of [XEP-0084](crate::xep0084_avatar), so its hash is at hand: nothing is read
//!   and nothing is computed. An account that never had a picture adds nothing.
//! - Ours (XEP-0398 §4): the server says it for all devices, and when it changes, they are shown anew. A device that says
//!   that there is no image to be advertised (§4.1, rule 3) is left in peace; one that names another image is corrected,
//!   since that image is not to be had.

use unisono_core::account::Account;
use unisono_core::extension::{Extension, Registry, Spec};
use unisono_xml::Element;

use crate::xep0084_avatar::announced;

pub const NS: &str = "vcard-temp:x:update";

pub struct VCardAvatars;

impl Extension for VCardAvatars {
    fn spec(&self) -> Spec {
        Spec::xep(153, "1.1.1")
    }

    fn register(&self, on: &mut Registry) {
        on.restate(|account: &Account, children| state(announced(account).as_deref(), children));
    }
}

/// XEP-0398 §4: what a presence says, given the hash of the avatar; an empty one if it is gone.
fn state(hash: Option<&str>, children: &mut Vec<Element>) {
    let said = children.iter_mut().find(|child| child.is("x", NS));
    let photo = said.as_ref().and_then(|said| said.child("photo", NS)).map(|photo| photo.text().into_owned());
    let is_told = match (&said, photo.as_deref().map(str::trim)) {
        // §4.1, rule 3: no image is to be advertised.
        (Some(_), Some("")) => false,
        (Some(_), Some(other)) => !hash.unwrap_or_default().eq_ignore_ascii_case(other),
        // §4.1, rule 2: the device is not ready, the server is.
        (Some(_) | None, _) => hash.is_some(),
    };
    if !is_told {
        return;
    }
    let hash = hash.unwrap_or_default();
    let photo = Element::builder("photo", NS);
    let photo = if hash.is_empty() { photo } else { photo.text(hash) };
    let update = Element::builder("x", NS).child(photo.build()).build();
    match said {
        Some(said) => *said = update,
        None => children.push(update),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::element;

    #[test]
    fn what_presence_says() {
        let x = |content: &str| format!("<x xmlns='{NS}'>{content}</x>");
        let (own, other) = (x("<photo>abc</photo>"), x("<photo>def</photo>"));
        let none = x("<photo/>");
        for (hash, said, want) in [
            (Some("abc"), "", own.as_str()), // XEP-0398 §4, example 4
            (Some("abc"), &none, &none),     // example 6
            (Some("abc"), &format!("<x xmlns='{NS}'/>"), &own),
            (Some("abc"), &other, &own),
            (Some("abc"), &own, &own),
            (Some("abc"), &x("<photo> ABC </photo>"), &x("<photo> ABC </photo>")), // §3.1, note
            (Some(""), "", &none),
            (Some(""), &format!("<x xmlns='{NS}'/>"), &none),
            (Some(""), &other, &none),
            (Some(""), &none, &none),
            (None, "", ""),
            (None, &format!("<x xmlns='{NS}'/>"), &format!("<x xmlns='{NS}'/>")),
            (None, &other, &none),
            (None, &none, &none),
        ] {
            for before in ["", "<show>away</show>"] {
                let all = element(&format!("<presence>{before}{said}</presence>"));
                let mut children: Vec<_> = all.children().cloned().collect();
                state(hash, &mut children);
                let want = element(&format!("<presence>{before}{want}</presence>"));
                assert_eq!(children, want.children().cloned().collect::<Vec<_>>(), "{hash:?} {said}");
            }
        }
    }
}
