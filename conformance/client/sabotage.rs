//! A bad server in the middle: it spoils what arrives, to show that the scripts notice.
//!
//! A script that passes while everything is dropped, doubled or emptied proves little.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::xml::{Element, fragment};

/// What becomes of each element that the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Damage {
    /// It never comes.
    Drop,
    /// It comes twice.
    Double,
    /// It comes without its children.
    Strip,
    /// It comes from another address.
    Forge,
    /// It comes as it should, and unwanted messages come too.
    Invent,
}

/// Cheap to clone; all clones are switched together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sabotage {
    damage: Option<Damage>,
    is_on: Arc<AtomicBool>,
}

impl Sabotage {
    pub(crate) fn new(damage: Option<Damage>) -> Self {
        Self { damage, is_on: Arc::default() }
    }

    /// On while a script acts, off while it is set up and while a client logs in.
    pub(crate) fn switch(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::SeqCst);
    }

    /// What arrives though nobody sent it, each time the runner asks whether all has arrived.
    pub(super) fn invent(&self) -> Option<Element> {
        let is_on = self.damage == Some(Damage::Invent) && self.is_on.load(Ordering::SeqCst);
        let unwanted = fragment("<message from='mallory@evil.invalid'><body>unwanted</body></message>");
        unwanted.ok().filter(|_| is_on).and_then(|mut elements| elements.pop())
    }

    /// What arrives in place of the element.
    pub(super) fn spoil(&self, mut element: Element) -> Vec<Element> {
        match self.damage.filter(|_| self.is_on.load(Ordering::SeqCst)) {
            None | Some(Damage::Invent) => vec![element],
            Some(Damage::Drop) => Vec::new(),
            Some(Damage::Double) => vec![element.clone(), element],
            Some(Damage::Strip) => {
                element.nodes.clear();
                vec![element]
            }
            Some(Damage::Forge) => {
                for attribute in element.attributes.iter_mut().filter(|a| a.name == "from") {
                    "mallory@evil.invalid".clone_into(&mut attribute.value);
                }
                vec![element]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;

    #[test]
    fn what_nobody_sent_comes_only_when_it_is_on() {
        let sabotage = Sabotage::new(Some(Damage::Invent));
        assert_eq!(sabotage.invent(), None);
        sabotage.switch(true);
        assert!(sabotage.invent().is_some());
    }

    #[test]
    fn stanzas_are_spoiled_and_only_when_it_is_on() {
        let message = || fragment("<message from='a'><body>hi</body></message>").unwrap().remove(0);
        for (damage, want) in [
            (None, vec!["<message from='a'><body>hi</body></message>"]),
            (Some(Damage::Drop), vec![]),
            (Some(Damage::Double), vec!["<message from='a'><body>hi</body></message>"; 2]),
            (Some(Damage::Strip), vec!["<message from='a'/>"]),
            (Some(Damage::Forge), vec!["<message from='mallory@evil.invalid'><body>hi</body></message>"]),
        ] {
            let sabotage = Sabotage::new(damage);
            assert_eq!(sabotage.spoil(message()), [message()]);
            sabotage.switch(true);
            let got: Vec<String> = sabotage.spoil(message()).iter().map(Element::to_string).collect();
            assert_eq!(got, want, "{damage:?}");
            assert_eq!(sabotage.invent(), None);
        }
    }
}
