//! # XEP-0084: User Avatar
//!
//! Follows 1.1.4 (2019-09-20). A picture of a user, in two nodes of the account: what it is, and its bytes.
//!
//! - Stage: none; rules of the nodes. State: which image is shown, for who learns of it in another way
//!   ([XEP-0153](crate::xep0153_vcard_avatars), [XEP-0398](crate::xep0398_avatar_conversion)); none where there never was
//!   an avatar.
//! - Ours: what is no image data, or has another hash than its id says (§3.1), is refused: nobody is shown a picture that
//!   cannot be there.
//! - Left out: `replyto` (§3.3, as in [XEP-0163](crate::xep0163_pep)). What is at a URL (§3.4) or behind a pointer
//!   (§4.2.2) is for clients to get.

mod image;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use compact_str::{CompactString, ToCompactString};
use sha1::{Digest, Sha1};
use unisono_core::account::Account;
use unisono_core::error::StanzaError;
use unisono_core::extension::{AccountState, Extension, Registry, Spec};
use unisono_core::storage::Write;
use unisono_xml::Element;

use crate::xep0060_pubsub::{
    Action, Change, Made, Rule, Scene, Seen, invalid_payload, is_private, item_named,
};

pub(crate) use image::recognise;

pub const NS_DATA: &str = "urn:xmpp:avatar:data";
pub const NS_METADATA: &str = "urn:xmpp:avatar:metadata";

/// RFC 4648 §4, with or without the filling at its end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub struct UserAvatar;

impl Extension for UserAvatar {
    fn spec(&self) -> Spec {
        Spec::xep(84, "1.1.4")
    }

    fn register(&self, on: &mut Registry) {
        on.account_state::<Avatar>();
    }
}

/// The image that the metadata tell of.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Avatar {
    /// Names the item with the data: the hash of the image. Empty if none is shown.
    id: CompactString,
    /// Whether there is that item.
    is_there: bool,
    /// The content type that the metadata give it.
    kind: CompactString,
}

impl AccountState for Avatar {
    const KIND: &'static str = "avatar";

    fn decode(text: &str) -> Self {
        let mut parts = text.splitn(3, ' ');
        let mut next = || parts.next().unwrap_or_default();
        Self { is_there: next() == "there", id: next().into(), kind: next().into() }
    }

    fn encode(&self) -> String {
        format!("{} {} {}", if self.is_there { "there" } else { "missing" }, self.id, self.kind)
    }
}

impl Avatar {
    /// The image that this metadata tells of: the first that is no file somewhere else (XEP-0398 §3.1).
    fn told_by(metadata: &Element) -> Self {
        let infos = metadata.children().filter(|child| child.is("info", NS_METADATA));
        let mut own = infos.filter(|info| info.attr("url").is_none());
        own.find_map(|info| {
            let id = info.attr("id").filter(|id| is_hash(id))?;
            Some(Self { id: id.into(), is_there: false, kind: info.attr("type").unwrap_or_default().into() })
        })
        .unwrap_or_default()
    }

    fn is(&self, id: &str) -> bool {
        !id.is_empty() && self.id.eq_ignore_ascii_case(id)
    }

    /// The id of the item that holds the image, and the content type that the metadata give it.
    pub(crate) fn item(&self) -> Option<(&CompactString, &CompactString)> {
        self.is_there.then_some((&self.id, &self.kind))
    }

    /// Keeps it with the account. Returns whether that changes what others are told.
    fn keep(self, account: &mut Account, writes: &mut Vec<Write>) -> bool {
        let old = account.state::<Self>();
        if old.unwrap_or(&Self::default()) == &self {
            return false;
        }
        let before = announced(account);
        account.set_state(self, writes);
        before != announced(account)
    }
}

/// The hash of the avatar as presence tells it (XEP-0153 §3.1), empty if there is none any more; nothing of an account
/// that never had one. Where nobody but the owner reads the nodes, there is none.
pub(crate) fn announced(account: &Account) -> Option<CompactString> {
    let avatar = account.state::<Avatar>()?;
    let is_shown = avatar.is_there && !is_private(account, NS_DATA) && !is_private(account, NS_METADATA);
    Some(if is_shown { avatar.id.to_ascii_lowercase().to_compact_string() } else { CompactString::default() })
}

/// Whether the metadata of an account tell of an image.
pub(crate) fn is_told(account: &Account) -> bool {
    account.state::<Avatar>().is_some_and(|avatar| !avatar.id.is_empty())
}

/// Whether an account shows this image now.
pub(crate) fn shows(account: &Account, hash: &str) -> bool {
    account.state::<Avatar>().is_some_and(|avatar| avatar.is_there && avatar.is(hash))
}

/// The id of an image (§3.1), in hexadecimal digits.
pub(crate) fn hash_of(image: &[u8]) -> CompactString {
    use std::fmt::Write as _;
    let mut hash = CompactString::with_capacity(40);
    for byte in Sha1::digest(image) {
        _ = write!(hash, "{byte:02x}");
    }
    hash
}

fn is_hash(id: &str) -> bool {
    id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads Base64, wherever its lines are broken (§4.1); none if it is not, or if nothing is in it.
pub(crate) fn decoded(text: &str) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(text).ok().filter(|image| !image.is_empty())
}

/// The other way.
pub(crate) fn encoded(image: &[u8]) -> String {
    BASE64.encode(image)
}

/// The rule of the node with the images.
pub(crate) struct OfData;

impl Rule for OfData {
    fn follow(&self, action: &mut Action, _: &Scene<'_>) -> Result<Vec<Change>, StanzaError> {
        if let Action::Publish { id, payload } = action {
            let image = Some(&*payload).filter(|payload| payload.is("data", NS_DATA));
            let image = image.and_then(|payload| decoded(&payload.text()));
            let image = image.ok_or_else(|| invalid_payload().with_text("that is no image data"))?;
            if !hash_of(&image).eq_ignore_ascii_case(id) {
                return Err(invalid_payload().with_text("the id is not the hash of the image")); // §3.1
            }
        }
        Ok(Vec::new())
    }

    fn is_shown(&self) -> bool {
        true
    }

    fn keep(&self, made: &Made<'_>, _: &Seen, account: &mut Account, writes: &mut Vec<Write>) -> bool {
        let Some(avatar) = account.state::<Avatar>() else { return false };
        let item = match made {
            Made::Emptied => None,
            Made::Changed(action) if avatar.is(action.id()) => item_named(account, NS_DATA, &avatar.id),
            // Another image that takes the place of this one is half of a change: its metadata come next (§3).
            Made::Changed(_) | Made::Displaced(_) => return false,
        };
        let id = item.clone().unwrap_or_else(|| avatar.id.clone());
        Avatar { id, is_there: item.is_some(), kind: avatar.kind.clone() }.keep(account, writes)
    }
}

/// The rule of the node that tells of the image.
pub(crate) struct OfMetadata;

impl Rule for OfMetadata {
    fn reads(&self) -> &'static [&'static str] {
        &[NS_METADATA]
    }

    fn knows(&self) -> &'static [&'static str] {
        &[NS_DATA]
    }

    fn follow(&self, action: &mut Action, _: &Scene<'_>) -> Result<Vec<Change>, StanzaError> {
        match action {
            Action::Publish { payload, .. } if !payload.is("metadata", NS_METADATA) => Err(invalid_payload()),
            Action::Publish { .. } | Action::Retract { .. } => Ok(Vec::new()),
        }
    }

    fn is_shown(&self) -> bool {
        true
    }

    fn keep(&self, made: &Made<'_>, seen: &Seen, account: &mut Account, writes: &mut Vec<Write>) -> bool {
        let told = match made {
            Made::Changed(Action::Publish { payload, .. }) => Avatar::told_by(payload),
            Made::Changed(Action::Retract { id }) => {
                seen.last_but(NS_METADATA, id).map(|last| Avatar::told_by(&last)).unwrap_or_default()
            }
            Made::Displaced(_) => return false,
            Made::Emptied => Avatar::default(),
        };
        let item = Some(&told.id).filter(|id| !id.is_empty());
        let item = item.and_then(|id| item_named(account, NS_DATA, id));
        Avatar { is_there: item.is_some(), id: item.unwrap_or(told.id), kind: told.kind }
            .keep(account, writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::element;

    #[test]
    fn what_metadata_tell_of() {
        let hash = "111f4b3c50d7b0df729d299bc6f8e9ef9066971f";
        let other = "357a8123a30844a3aa99861b6349264ba67a5694";
        let info = |id: &str, more: &str| format!("<info id='{id}' bytes='1' {more}/>");
        for (infos, id, kind) in [
            (info(hash, "type='image/png'"), hash, "image/png"), // example 3
            (info(hash, ""), hash, ""),
            (String::new(), "", ""),        // §3.5
            ("<stop/>".to_owned(), "", ""), // §3.5, as it once was
            (info(other, "url='https://example.org/a.gif' type='image/gif'"), "", ""), // example 4
            (
                info(other, "url='https://example.org/a.gif'") + &info(hash, "type='image/png'"),
                hash,
                "image/png",
            ), // XEP-0398 §3.1
            (info("current", "type='image/png'"), "", ""),
            (info(&hash.to_uppercase(), ""), &hash.to_uppercase(), ""),
            ("<info/>".to_owned(), "", ""),
            (format!("<info xmlns='urn:x' id='{hash}'/>"), "", ""),
        ] {
            let metadata = element(&format!("<metadata xmlns='{NS_METADATA}'>{infos}</metadata>"));
            let avatar = Avatar::told_by(&metadata);
            assert_eq!((avatar.id.as_str(), avatar.kind.as_str()), (id, kind), "{infos}");
            assert_eq!(Avatar::decode(&avatar.encode()), avatar);
        }
        for broken in ["", "there", "x y z w"] {
            assert_eq!(
                Avatar::decode(broken).item().map(|(id, _)| id.as_str()),
                (broken == "there").then_some("")
            );
        }
    }

    #[test]
    fn image_data_is_base64_with_any_lines() {
        for (text, want) in [
            ("aGVsbG8=", Some(&b"hello"[..])), // §4.1
            ("aGVsbG8", Some(b"hello")),
            ("\n  aGVs\r\n  bG8=\n", Some(b"hello")),
            ("", None),
            ("  ", None),
            ("a", None),
            ("aGVsbG8=!", None),
            ("aGVs_G8=", None),
            ("a=GVsbG8", None),
        ] {
            assert_eq!(decoded(text).as_deref(), want, "{text}");
        }
        assert_eq!(hash_of(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d"); // RFC 3174 §7.3
    }
}
