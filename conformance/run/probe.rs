//! What a server announces: the features that scripts may need.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::stage::Context;
use crate::client::{Identity, Login, NS_SASL2, Options, Sabotage, Trace};
use crate::script::{Need, Place};
use crate::xml::Element;

const NS_DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";

/// What is announced, where, and the server's own name for itself.
#[derive(Debug, Default)]
pub(super) struct Offer {
    features: BTreeSet<(Place, String)>,
    /// By XEP-0092, where it tells.
    pub(super) version: Option<String>,
}

impl Offer {
    /// Logs in with an account of its own and asks.
    pub(super) async fn ask(context: &Context, also: &[String]) -> Result<Self> {
        let mut offer = Self::default();
        offer.features.extend(also.iter().map(|feature| (Place::Anywhere, feature.clone())));
        let local = format!("probe-{}", context.run_id);
        let identity = Identity { password: format!("secret-{local}"), local };
        context.accounts.create(&identity).await?;
        let options = Options {
            name: "probe".to_owned(),
            counters: Arc::default(),
            answers_acks: true,
            trace: Trace::new(),
            sabotage: Sabotage::default(),
            timeout: context.timeout,
        };
        let mut login = context.endpoint.connect(options).await?;
        login.negotiate().await?;
        offer.add_stream(&login);
        if context.endpoint.starttls.is_some() {
            login.start_tls().await?;
            login.negotiate().await?;
            offer.add_stream(&login);
        }
        login.authenticate(&identity).await?;
        login.negotiate().await?;
        offer.add_stream(&login);
        let jid = login.bind("probe").await?;
        let bare = jid.split('/').next().unwrap_or_default().to_owned();
        let domain = context.endpoint.domain.clone();
        offer.add_disco(Place::Server, &mut login, &domain).await.context("discovery of the server")?;
        offer.add_disco(Place::Account, &mut login, &bare).await.context("discovery of the account")?;
        // Not every server has one.
        let service = format!("pubsub.{domain}");
        let _none = offer.add_disco(Place::Pubsub, &mut login, &service).await;
        offer.ask_version(&mut login, &domain).await;
        login.connection.send_raw(b"</stream:stream>".to_vec());
        Ok(offer)
    }

    fn add_stream(&mut self, login: &Login) {
        let features = || login.features.iter().flat_map(Element::children);
        let inline = features().filter_map(|feature| feature.child(NS_SASL2, "inline"));
        let features = features().chain(inline.flat_map(Element::children));
        self.features.extend(features.map(|feature| (Place::Stream, feature.ns.clone())));
        self.features.extend(login.mechanisms().into_iter().map(|name| (Place::Mechanism, name)));
    }

    async fn add_disco(&mut self, place: Place, login: &mut Login, address: &str) -> Result<()> {
        let id = format!("disco-{address}");
        let result =
            login.request_to(address, &id, "get", &format!("<query xmlns='{NS_DISCO_INFO}'/>")).await?;
        let query = result.child(NS_DISCO_INFO, "query").context("no query in the answer")?;
        let features = query.children().filter(|child| child.name == "feature");
        self.features
            .extend(features.filter_map(|feature| Some((place, feature.attribute("var")?.to_owned()))));
        Ok(())
    }

    async fn ask_version(&mut self, login: &mut Login, domain: &str) {
        let request = login.request_to(domain, "version", "get", "<query xmlns='jabber:iq:version'/>");
        // A server may keep it to itself.
        let Ok(result) = request.await else { return };
        let query = result.child("jabber:iq:version", "query");
        let version = query.and_then(|query| query.child("jabber:iq:version", "version"));
        self.version = version.map(Element::text);
    }

    /// The first of the needs that is not met.
    pub(super) fn missing<'a>(&self, needs: &'a [Need]) -> Option<&'a Need> {
        needs.iter().find(|need| !self.has(need))
    }

    fn has(&self, need: &Need) -> bool {
        self.features.iter().any(|(place, feature)| {
            *feature == need.feature
                && (*place == need.place || need.place == Place::Anywhere || *place == Place::Anywhere)
        })
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
    fn a_need_is_met_in_its_place_only() {
        let mut offer = Offer::default();
        offer.features.insert((Place::Server, "urn:a".to_owned()));
        offer.features.insert((Place::Anywhere, "urn:b".to_owned()));
        let need = |place, feature: &str| Need { place, feature: feature.to_owned() };
        for (place, feature, want) in [
            (Place::Server, "urn:a", true),
            (Place::Anywhere, "urn:a", true),
            (Place::Account, "urn:a", false),
            (Place::Stream, "urn:b", true),
            (Place::Server, "urn:c", false),
        ] {
            assert_eq!(offer.missing(&[need(place, feature)]).is_none(), want, "{place:?} {feature}");
        }
    }
}
