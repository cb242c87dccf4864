//! Rules of nodes that the server knows: what else has to change when somebody changes one of their items, so that the
//! nodes of an account never disagree (promise P5).

use unisono_core::account::Account;
use unisono_core::error::StanzaError;
use unisono_core::hub::Hub;

use super::change::{Action, Change, Seen};
use crate::{xep0048_bookmarks, xep0402_bookmarks};

/// The rules, by node.
const RULES: [(&str, &dyn Rule); 2] = [
    (xep0402_bookmarks::NS, &xep0402_bookmarks::OfConferences),
    (xep0048_bookmarks::NS, &xep0048_bookmarks::OfStorage),
];

/// What a node of an account asks of its items.
pub(crate) trait Rule: Sync {
    /// The nodes whose items have to be seen.
    fn reads(&self) -> &'static [&'static str] {
        &[]
    }

    /// Judges a change of an item, and says what follows from it for other nodes, to which no further rules are applied.
    /// It may change the payload.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the item. Then nothing changes.
    fn follow(&self, action: &mut Action, scene: &Scene<'_>) -> Result<Vec<Change>, StanzaError>;

    /// What follows when all items are gone.
    fn emptied(&self, scene: &Scene<'_>) -> Vec<Change>;
}

/// What a rule sees.
pub(crate) struct Scene<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) account: &'a Account,
    pub(crate) seen: &'a Seen,
}

/// The rule of a node, if it has one.
pub(super) fn of(node: &str) -> Option<&'static dyn Rule> {
    RULES.iter().find(|(name, _)| *name == node).map(|(_, rule)| *rule)
}
