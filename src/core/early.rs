//! Requests of who is not known yet: an iq inside of TLS, before authentication (RFC 6120 §4.3.5 leaves that to
//! extensions, such as XEP-0077 §3.1.1).

use std::net::IpAddr;
use std::sync::Arc;

use unisono_xml::Element;

use crate::error::{Condition, StanzaError};
use crate::extension::Registry;
use crate::hub::Hub;
use crate::invitations::Invitation;
use crate::jid::{BareJid, Jid};
use crate::stanza::{IqType, NS_CLIENT};
use crate::storage::BoxFuture;

/// A request on a stream whose client is not known yet.
pub struct EarlyRequest {
    pub hub: Arc<Hub>,
    pub kind: IqType,
    /// The child of the iq.
    pub payload: Element,
    /// The domain of the stream.
    pub domain: BareJid,
    /// Where the client is.
    pub origin: Origin,
    pub standing: Standing,
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// One address of IPv4, or a network of IPv6.
    pub network: IpAddr,
    /// Of IPv6, what is given to one customer: it has many networks.
    pub site: Option<IpAddr>,
}

/// What a stream has come to before its client is known.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// It showed the token of this invitation, which is still to be used.
    pub invitation: Option<Arc<Invitation>>,
    /// It has made an account.
    pub has_registered: bool,
}

/// The child of the result, if it has one, and what the stream has come to.
pub type EarlyReply = (Result<Option<Element>, StanzaError>, Standing);

/// Answers a request of who is not known yet.
pub type EarlyIq = fn(EarlyRequest) -> BoxFuture<'static, EarlyReply>;

/// A feature of a stream before authentication, if it is to be had.
pub type EarlyFeature = fn(&Hub) -> Option<Element>;

#[derive(Default)]
pub(crate) struct Early {
    iqs: Vec<((&'static str, &'static str), EarlyIq)>,
    features: Vec<EarlyFeature>,
}

impl Registry {
    /// Answers an iq with this child before authentication. Whether it is to be had now, the handler knows.
    pub fn early_iq(&mut self, name: (&'static str, &'static str), handler: EarlyIq) -> &mut Self {
        self.early.iqs.push((name, handler));
        self
    }

    /// Adds a feature to a stream before authentication.
    pub fn early_feature(&mut self, feature: EarlyFeature) -> &mut Self {
        self.early.features.push(feature);
        self
    }

    /// The features of a stream inside of TLS, before authentication.
    pub fn early_features<'a>(&'a self, hub: &'a Hub) -> impl Iterator<Item = Element> + 'a {
        self.early.features.iter().filter_map(move |feature| feature(hub))
    }

    /// The children of iqs that may come before authentication, by namespace and name.
    pub fn early_names(&self) -> Vec<(&'static str, &'static str)> {
        self.early.iqs.iter().map(|(name, _)| *name).collect()
    }

    fn early_handler(&self, stanza: &Element) -> Option<EarlyIq> {
        let payload = stanza.first_child().filter(|_| asks(stanza))?;
        let handlers = self.early.iqs.iter();
        handlers.clone().find(|((ns, name), _)| payload.is(name, ns)).map(|(_, handler)| *handler)
    }
}

/// Whether it is an iq that wants an answer.
pub fn asks(stanza: &Element) -> bool {
    stanza.is("iq", NS_CLIENT) && matches!(stanza.attr("type"), Some("get" | "set"))
}

impl Hub {
    /// Answers an iq of who is not known yet, on a stream of `domain`.
    pub async fn answer_early(
        self: Arc<Self>,
        stanza: Element,
        domain: BareJid,
        origin: Origin,
        standing: Standing,
    ) -> (Element, Standing) {
        let kept = standing.clone();
        let (answer, standing) = match self.early_request(&stanza, domain, origin, standing) {
            Ok((handler, request)) => handler(request).await,
            Err(error) => (Err(error), kept),
        };
        let id = stanza.attr("id");
        let from = stanza.attr("to").filter(|to| to.parse::<Jid>().is_ok());
        let reply = Element::builder("iq", NS_CLIENT).attr_opt("id", id).attr_opt("from", from);
        let reply = match answer {
            Ok(payload) => reply.attr("type", "result").child_opt(payload),
            Err(error) => reply.attr("type", "error").child(error.to_element()),
        };
        (reply.build(), standing)
    }

    fn early_request(
        self: Arc<Self>,
        stanza: &Element,
        domain: BareJid,
        origin: Origin,
        standing: Standing,
    ) -> Result<(EarlyIq, EarlyRequest), StanzaError> {
        let handler = self.registry.early_handler(stanza);
        let handler = handler.ok_or(StanzaError::new(Condition::ServiceUnavailable))?;
        let kind = if stanza.attr("type") == Some("get") { IqType::Get } else { IqType::Set };
        let mut children = stanza.children();
        // RFC 6120 §8.1.3 and §8.2.3: an id, and one child.
        let (Some(payload), None, Some(_)) = (children.next(), children.next(), stanza.attr("id")) else {
            return Err(StanzaError::new(Condition::BadRequest));
        };
        let is_ours = |to: &str| to.parse::<Jid>().is_ok_and(|to| to.as_str() == domain.as_str());
        if !stanza.attr("to").is_none_or(is_ours) {
            return Err(StanzaError::new(Condition::NotAllowed));
        }
        let payload = payload.clone();
        Ok((handler, EarlyRequest { hub: self, kind, payload, domain, origin, standing }))
    }
}
