//! XEP-0386: Bind 2
//!
//! Follows 1.1.0 (2025-12-12). A resource is bound together with the login, and what a session begins with is settled
//! before anything else can happen to it.
//!
//! - What there is to settle belongs to the extensions, which hang it up by [`Registry::at_bind`]. All of them see the
//!   account under one lock, in their order, between the binding and the first stanza.
//! - Ours: the same installation gets the same resource for the same tag (§3.2.1), and its device is known by the
//!   installation alone. Of two sessions of one device the older ends without `conflict`.
//! - Ours: what waits for delivery and is in no archive is not cleared (§3.2): the first presence brings it.

use std::sync::Arc;

use unisono_xml::Element;

use crate::account::Account;
use crate::devices::{Login, UserAgent};
use crate::error::{Condition, StanzaError};
use crate::extension::Registry;
use crate::hub::{Connection, Hub, SessionRef};
use crate::ids::SessionId;
use crate::jid::{BareJid, FullJid};
use crate::storage::{BoxFuture, StoreError};

pub const NS: &str = "urn:xmpp:bind:0";

/// A resource that was bound a moment ago, with its account locked.
pub struct JustBound<'a> {
    pub hub: &'a Arc<Hub>,
    pub account: &'a mut Account,
    pub session: SessionId,
    /// `<bind/>`, with what the client asks for.
    pub request: &'a Element,
}

/// What an extension has to say in `<bound/>`.
pub enum Settled {
    Nothing,
    Now(Element),
    /// It has to read first, of what there was when the resource was bound. Nothing is told where that fails.
    Later(BoxFuture<'static, Result<Element, StoreError>>),
}

/// What an extension does when a resource is bound together with the login.
pub type AtBind = fn(&mut JustBound<'_>) -> Settled;

impl Registry {
    /// What is announced within `<authentication/>` (§3.1).
    pub(crate) fn bind_feature(&self) -> Element {
        let features = self.at_bind.iter().filter_map(|(feature, _)| *feature);
        let features = features.map(|var| Element::builder("feature", NS).attr("var", var).build());
        let inline = Element::builder("inline", NS).children(features).build();
        Element::builder("bind", NS).child(inline).build()
    }
}

impl Hub {
    /// Does what a `<bind/>` asks for (§3.2). What is to be told of it is read afterwards, when somebody holds the session:
    /// [`bound`].
    pub async fn bind_inline(
        self: &Arc<Self>,
        login: &Login,
        account: &BareJid,
        request: &Element,
        connection: Connection,
    ) -> Result<(SessionRef, Vec<Settled>), StanzaError> {
        let jid = self.tagged_resource(login.agent, account, request)?;
        let settle = |account: &mut Account, session: SessionId| -> Vec<_> {
            let mut bound = JustBound { hub: self, account, session, request };
            self.registry.at_bind.iter().map(|(_, settle)| settle(&mut bound)).collect()
        };
        self.bind_and(login, &jid, connection, settle).await
    }

    /// §3.2.1: what the client calls itself, and what makes it unlike all others. A tag that cannot stand in a resource
    /// is left out.
    fn tagged_resource(
        &self,
        agent: Option<UserAgent>,
        account: &BareJid,
        request: &Element,
    ) -> Result<FullJid, StanzaError> {
        let own = self.made_up_resource(account, agent);
        let tag = request.child_text("tag", NS).filter(|tag| !tag.is_empty());
        let tagged = tag.and_then(|tag| account.with_resource(&format!("{tag}/{own}")).ok());
        let jid = tagged.map_or_else(|| account.with_resource(&own), Ok);
        jid.map_err(|_| StanzaError::new(Condition::BadRequest))
    }
}

/// `<bound/>`, with what all extensions have to say.
pub async fn bound(settled: Vec<Settled>) -> Element {
    let mut bound = Element::builder("bound", NS);
    for settled in settled {
        let element = match settled {
            Settled::Nothing => None,
            Settled::Now(element) => Some(element),
            Settled::Later(reading) => match reading.await {
                Ok(element) => Some(element),
                Err(error) => {
                    tracing::error!(%error, "cannot tell all that a session begins with");
                    None
                }
            },
        };
        bound = bound.child_opt(element);
    }
    bound.build()
}
