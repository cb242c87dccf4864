//! Rules of nodes that the server knows: what else has to change when somebody changes one of their items, so that the
//! nodes of an account never disagree (promise P5).

use compact_str::CompactString;
use unisono_core::account::Account;
use unisono_core::error::StanzaError;
use unisono_core::hub::Hub;
use unisono_core::ids::SessionId;
use unisono_core::session::Session;
use unisono_core::storage::Write;
use unisono_xml::Element;

use super::change::{Action, Change};
use super::seen::Seen;
use super::step::Gone;
use crate::{
    xep0048_bookmarks, xep0084_avatar, xep0172_nick, xep0292_vcard4, xep0384_omemo, xep0402_bookmarks,
    xep0490_displayed,
};

/// The rules, by node.
const RULES: [(&str, &dyn Rule); 9] = [
    (xep0402_bookmarks::NS, &xep0402_bookmarks::OfConferences),
    (xep0048_bookmarks::NS, &xep0048_bookmarks::OfStorage),
    (xep0084_avatar::NS_DATA, &xep0084_avatar::OfData),
    (xep0084_avatar::NS_METADATA, &xep0084_avatar::OfMetadata),
    (xep0172_nick::NS, &xep0172_nick::OfNickname),
    (xep0292_vcard4::NODE, &xep0292_vcard4::OfVCard),
    (xep0490_displayed::NS, &xep0490_displayed::OfDisplayed),
    (xep0384_omemo::NS_DEVICES, &xep0384_omemo::NEW),
    (xep0384_omemo::NS_OLD_DEVICES, &xep0384_omemo::OLD),
];

/// What a node of an account asks of its items.
pub(crate) trait Rule: Sync {
    /// How the node is made by a publication that does not say.
    fn options(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The nodes whose items have to be seen.
    fn reads(&self) -> &'static [&'static str] {
        &[]
    }

    /// The nodes of which has to be known which items they have.
    fn knows(&self) -> &'static [&'static str] {
        &[]
    }

    /// Judges a change of an item, and says what follows from it for other nodes, to which no further rules are applied.
    /// It may change the payload.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the item. Then nothing changes.
    fn follow(&self, action: &mut Action, scene: &Scene<'_>) -> Result<Vec<Change>, StanzaError>;

    /// What follows for other nodes when items go ([`Scene::is_gone`]) and none comes: the node is purged, deleted, or made
    /// to hold less.
    fn lost(&self, _: &Scene<'_>) -> Vec<Change> {
        Vec::new()
    }

    /// An item is published, in this commit, by somebody or by the server.
    fn published(&self, _: &Hub, _: &mut Account, _: &Publication<'_>, _: &mut Vec<Write>) {}

    /// Whether it matters what a device has seen of the node before it changes it ([`super::has_seen`]).
    fn asks_who_saw(&self) -> bool {
        false
    }

    /// Brings what is kept with the account in step with what was just made of the items, whoever made it, or with the loss
    /// of all of them that is about to be made; it is the same commit. `seen` is what [`Self::reads`] asks for, as it was
    /// before, where somebody asked for the change. Returns whether the devices of the account are to be shown anew.
    fn keep(&self, _: &Made<'_>, _: &Seen, _: &mut Account, _: &mut Vec<Write>) -> bool {
        false
    }

    /// Whether the presence of the account's devices depends on who may read the node.
    fn is_shown(&self) -> bool {
        false
    }
}

/// What became of the items of a node.
pub(crate) enum Made<'a> {
    /// One was published or deleted, or there is no room for it any more.
    Changed(&'a Action),
    /// This one made room for one that is published with it.
    Displaced(&'a CompactString),
    /// All are gone.
    Emptied,
}

/// An item that is published.
pub(crate) struct Publication<'a> {
    pub(crate) id: &'a CompactString,
    pub(crate) payload: &'a Element,
    /// The session that publishes it, if it is one of the account.
    pub(crate) by: Option<SessionId>,
}

/// What a rule sees.
pub(crate) struct Scene<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) account: &'a Account,
    pub(crate) seen: &'a Seen,
    /// The session that wants the change, if it is one of the account.
    pub(crate) by: Option<&'a Session>,
    /// The items of the node that go with the change, beside one that is deleted.
    pub(super) gone: Gone,
}

impl Scene<'_> {
    /// Whether an item goes with the change, beside one that is deleted.
    pub(crate) fn is_gone(&self, id: &str) -> bool {
        self.gone.has(id)
    }
}

/// The rule of a node, if it has one.
pub(super) fn of(node: &str) -> Option<&'static dyn Rule> {
    RULES.iter().find(|(name, _)| *name == node).map(|(_, rule)| *rule)
}
