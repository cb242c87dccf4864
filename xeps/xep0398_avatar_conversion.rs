//! # XEP-0398: User Avatar to vCard-Based Avatars Conversion
//!
//! Follows 1.0.0 (2024-05-06). The picture in the vCard is the one that [XEP-0084](crate::xep0084_avatar) has.
//!
//! - Stage: none; what [XEP-0054](crate::xep0054_vcard) answers and stores. There is one picture: that of the nodes is put
//!   into the vCard when somebody asks for it who may read both nodes (§5.2, §7), and that of a vCard which is set goes
//!   into the nodes, in one commit with the rest. So the forms never differ, and what the picture was set with decides
//!   who sees it. Presence (§4) is with [XEP-0153](crate::xep0153_vcard_avatars).
//! - Ours: a vCard without a picture takes the avatar away (XEP-0084 §3.5). Nodes that are made for a picture of a vCard are
//!   open, as vCards are. The content type is that of the image (XEP-0153 §5), and the size in pixels is told.

use compact_str::{CompactString, ToCompactString, format_compact};
use unisono_core::account::{Account, Cell};
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Extension, Registry, Spec};
use unisono_core::hub::Hub;
use unisono_core::jid::BareJid;
use unisono_core::stanza::{CLIENT_SCOPE, OUR_LIMITS};
use unisono_core::storage::ItemQuery;
use unisono_xml::Element;

use crate::xep0054_vcard;
use crate::xep0060_pubsub::{Action, Change, PAYLOAD_BYTES_MAX, is_readable};
use crate::xep0084_avatar::{
    self as avatar, Avatar, NS_DATA, NS_METADATA, decoded, encoded, hash_of, is_told, recognise,
};

/// How a node is made that nobody has made yet.
const OPTIONS: &[(&str, &str)] =
    &[("pubsub#persist_items", "true"), ("pubsub#max_items", "1"), ("pubsub#access_model", "open")];
/// Bytes of a picture as Base64, so that it fits into its node.
const TEXT_BYTES_MAX: usize = PAYLOAD_BYTES_MAX as usize - 100;
/// Bytes of the name of a content type.
const KIND_BYTES_MAX: usize = 100;

pub struct AvatarConversion;

impl Extension for AvatarConversion {
    fn spec(&self) -> Spec {
        Spec::xep(398, "1.0.0")
    }

    fn register(&self, on: &mut Registry) {
        on.account_feature("urn:xmpp:pep-vcard-conversion:0"); // §2
    }
}

/// A picture, as a vCard has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Photo {
    kind: CompactString,
    size: Option<(u16, u16)>,
    image: Vec<u8>,
}

impl Photo {
    /// The picture in a vCard that a client sets, if there is one: an empty one is none (XEP-0153 §4.3).
    ///
    /// # Errors
    ///
    /// `bad-request` if it is no Base64, `resource-constraint` if it is too large.
    pub(crate) fn of_card(card: &Element) -> Result<Option<Self>, StanzaError> {
        let photos = card.children().filter(|child| child.is("PHOTO", xep0054_vcard::NS));
        let text = |photo: &Element, name| {
            photo.child_text(name, xep0054_vcard::NS).unwrap_or_default().into_owned()
        };
        let with_data = photos.map(|photo| (text(photo, "TYPE"), text(photo, "BINVAL")));
        let Some((kind, data)) = with_data.into_iter().find(|(_, data)| !data.trim().is_empty()) else {
            return Ok(None);
        };
        let image = decoded(&data)
            .ok_or_else(|| StanzaError::new(Condition::BadRequest).with_text("the photo is no image data"))?;
        if encoded(&image).len() > TEXT_BYTES_MAX {
            return Err(StanzaError::new(Condition::ResourceConstraint).with_text("the photo is too large"));
        }
        Ok(Some(Self::new(image, kind.trim())))
    }

    /// An image that is said to be of this type (XEP-0153 §5: that is a hint).
    fn new(image: Vec<u8>, said: &str) -> Self {
        let found = recognise(&image);
        let is_kind = said.starts_with("image/") && said.len() <= KIND_BYTES_MAX;
        let said = if is_kind { said } else { "image/png" };
        let kind = found.map_or(said, |found| found.kind).into();
        Self { kind, size: found.and_then(|found| found.size), image }
    }

    /// As it stands in a vCard.
    fn to_element(&self) -> Element {
        let text =
            |name: &'static str, text: &str| Element::builder(name, xep0054_vcard::NS).text(text).build();
        let photo = Element::builder("PHOTO", xep0054_vcard::NS).child(text("TYPE", &self.kind));
        photo.child(text("BINVAL", &encoded(&self.image))).build()
    }

    fn to_data(&self) -> Element {
        Element::builder("data", NS_DATA).text(encoded(&self.image)).build()
    }

    /// §3.2: "one info element that represents the newly published image".
    fn to_metadata(&self, hash: &str) -> Element {
        let info = Element::builder("info", NS_METADATA)
            .attr("bytes", self.image.len().to_compact_string())
            .attr("id", hash)
            .attr("type", self.kind.as_str())
            .attr_opt("width", self.size.map(|(width, _)| format_compact!("{width}")))
            .attr_opt("height", self.size.map(|(_, height)| format_compact!("{height}")));
        Element::builder("metadata", NS_METADATA).child(info.build()).build()
    }
}

/// §3.2: what makes the picture of a vCard the avatar of an account; nothing if it is. `new` names what has no name.
pub(crate) fn changes(account: &Account, photo: Option<&Photo>, new: &str) -> Vec<Change> {
    let publish = |node, id: &str, payload| Change {
        node,
        action: Action::Publish { id: id.into(), payload },
        options: OPTIONS,
    };
    match photo {
        Some(photo) => {
            let hash = hash_of(&photo.image);
            if avatar::shows(account, &hash) {
                return Vec::new();
            }
            let data = publish(NS_DATA, &hash, photo.to_data());
            vec![data, publish(NS_METADATA, &hash, photo.to_metadata(&hash))]
        }
        None if is_told(account) => {
            vec![publish(NS_METADATA, new, Element::new("metadata", NS_METADATA))] // XEP-0084 §3.5
        }
        None => Vec::new(),
    }
}

/// The item with the picture, for who may see it (§7), and the content type that is told of it.
pub(crate) fn item_for(account: &Account, who: &BareJid) -> Option<(CompactString, CompactString)> {
    let (id, kind) = account.state::<Avatar>()?.item()?;
    let may = is_readable(account, NS_DATA, who) && is_readable(account, NS_METADATA, who);
    may.then(|| (id.clone(), kind.clone()))
}

/// §3.1: the picture in that item, as it stands in a vCard.
///
/// # Errors
///
/// The store cannot be read.
pub(crate) async fn photo(
    hub: &Hub,
    cell: &Cell,
    (id, kind): (CompactString, CompactString),
) -> Result<Option<Element>, StanzaError> {
    let query = ItemQuery { ids: Some(vec![id]), limit: 1, ..ItemQuery::default() };
    let page = hub.store.items(cell.id, NS_DATA, &query).await?;
    let item =
        page.items.first().and_then(|item| Element::parse(&item.payload, &CLIENT_SCOPE, &OUR_LIMITS).ok());
    let image = item.and_then(|data| decoded(&data.text()));
    Ok(image.map(|image| Photo::new(image, &kind).to_element()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{account, element};

    fn photo(content: &str) -> Result<Option<Photo>, Condition> {
        Photo::of_card(&element(&format!("<vCard xmlns='vcard-temp'>{content}</vCard>")))
            .map_err(|error| error.condition)
    }

    #[test]
    fn the_picture_of_a_vcard() {
        let png = encoded(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x40\0\0\0\x20");
        for (content, want) in [
            (String::new(), Ok(None)),
            ("<PHOTO/>".to_owned(), Ok(None)),
            ("<PHOTO><TYPE>image/png</TYPE><BINVAL> </BINVAL></PHOTO>".to_owned(), Ok(None)),
            ("<PHOTO><EXTVAL>https://example.org/a.png</EXTVAL></PHOTO>".to_owned(), Ok(None)),
            (format!("<PHOTO><BINVAL>{png}</BINVAL></PHOTO>"), Ok(Some("image/png Some((64, 32))"))),
            (
                format!("<PHOTO><TYPE>image/jpeg</TYPE><BINVAL>\n{png}\n</BINVAL></PHOTO>"),
                Ok(Some("image/png Some((64, 32))")),
            ), // XEP-0153 §5
            (
                "<PHOTO><TYPE> image/svg+xml </TYPE><BINVAL>PHN2Zy8+</BINVAL></PHOTO>".to_owned(),
                Ok(Some("image/svg+xml None")),
            ),
            (
                "<PHOTO><TYPE>text/html</TYPE><BINVAL>PHN2Zy8+</BINVAL></PHOTO>".to_owned(),
                Ok(Some("image/png None")),
            ),
            ("<PHOTO><BINVAL>no image!</BINVAL></PHOTO>".to_owned(), Err(Condition::BadRequest)),
            ("<PHOTO><BINVAL>a&amp;b=</BINVAL></PHOTO>".to_owned(), Err(Condition::BadRequest)),
            (
                format!("<PHOTO><BINVAL>{}</BINVAL></PHOTO>", "A".repeat(192 * 1024)),
                Err(Condition::ResourceConstraint),
            ),
        ] {
            let found =
                photo(&content).map(|photo| photo.map(|photo| format!("{} {:?}", photo.kind, photo.size)));
            assert_eq!(found, want.map(|want| want.map(str::to_owned)), "{content:.80}");
        }
    }

    #[test]
    fn what_is_published_of_it() {
        let photo = photo("<PHOTO><TYPE>image/x</TYPE><BINVAL>aGVsbG8=</BINVAL></PHOTO>").unwrap().unwrap();
        let changes = changes(&account(), Some(&photo), "new");
        let hash = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";
        let want = [
            (NS_DATA, element(&format!("<data xmlns='{NS_DATA}'>aGVsbG8=</data>"))),
            (
                NS_METADATA,
                element(&format!(
                    "<metadata xmlns='{NS_METADATA}'><info bytes='5' id='{hash}' type='image/x'/></metadata>"
                )),
            ),
        ];
        let made = changes.into_iter().map(|change| (change.node, change.action));
        let want = want.map(|(node, payload)| (node, Action::Publish { id: hash.into(), payload }));
        assert_eq!(made.collect::<Vec<_>>(), want);
        assert_eq!(super::changes(&account(), None, "new"), []);
    }
}
