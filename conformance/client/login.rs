//! From a connection to a bound resource, in steps that a script can stop at.

use anyhow::{Context as _, Result, bail};

use super::sasl::{self, Credentials, MECHANISMS};
use super::{Connection, Incoming, NS_BIND, NS_SASL, NS_SM, NS_TLS, Options};
use crate::xml::{Element, NS_CLIENT, NS_STREAM, escape};

/// Where a server listens.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) domain: String,
    /// `host:port` where STARTTLS is offered, if the server has one.
    pub(crate) starttls: Option<String>,
    /// `host:port` where TLS begins at once.
    pub(crate) direct_tls: Option<String>,
}

/// Who logs in.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) local: String,
    pub(crate) password: String,
}

/// A connection on its way to a session.
pub(crate) struct Login {
    pub(crate) connection: Connection,
    pub(crate) domain: String,
    /// The features that the server offered last.
    pub(crate) features: Option<Element>,
    is_secure: bool,
}

impl Endpoint {
    /// A TCP connection, and TLS at once where there is no other way.
    pub(crate) async fn connect(&self, options: Options) -> Result<Login> {
        let (address, direct_tls) = match (&self.starttls, &self.direct_tls) {
            (Some(address), _) => (address, None),
            (None, Some(address)) => (address, Some(self.domain.as_str())),
            (None, None) => bail!("the target names no port"),
        };
        let connection = Connection::open(address, direct_tls, options).await?;
        let domain = self.domain.clone();
        Ok(Login { connection, domain, features: None, is_secure: direct_tls.is_some() })
    }
}

impl Login {
    /// Sends our stream header.
    pub(crate) fn open_stream(&self) {
        let header = format!(
            "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xml:lang='en' \
             xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAM}'>",
            escape(&self.domain)
        );
        self.connection.send_raw(header.into_bytes());
    }

    /// Opens a stream and reads the server's header and features.
    pub(crate) async fn negotiate(&mut self) -> Result<()> {
        self.open_stream();
        match self.connection.next().await {
            Some(Incoming::Open(header)) if header.is(NS_STREAM, "stream") => {}
            other => bail!("no stream header came but {other:?}"),
        }
        let features = self.connection.next_element().await?;
        if !features.is(NS_STREAM, "features") {
            bail!("no stream features came but {features}");
        }
        self.features = Some(features);
        Ok(())
    }

    /// Negotiates STARTTLS, unless TLS is on already.
    pub(crate) async fn start_tls(&mut self) -> Result<()> {
        if self.is_secure {
            return Ok(());
        }
        self.connection.send(&format!("<starttls xmlns='{NS_TLS}'/>"))?;
        let answer = self.connection.next_element().await?;
        if !answer.is(NS_TLS, "proceed") {
            bail!("<starttls/> was answered with {answer}");
        }
        self.shake_hands().await
    }

    /// The TLS handshake alone.
    pub(crate) async fn shake_hands(&mut self) -> Result<()> {
        self.connection.start_tls(&self.domain).await?;
        self.is_secure = true;
        Ok(())
    }

    /// One mechanism to its end; `authzid` is empty where no other identity is asked for.
    pub(crate) async fn try_mechanism(
        &mut self,
        mechanism: &str,
        identity: &Identity,
        authzid: &str,
    ) -> Result<Element> {
        let credentials = Credentials { username: &identity.local, password: &identity.password, authzid };
        sasl::run(&mut self.connection, mechanism, &credentials).await
    }

    /// Authenticates with the best mechanism that both sides speak.
    pub(crate) async fn authenticate(&mut self, identity: &Identity) -> Result<()> {
        let offered = self.mechanisms();
        let best = MECHANISMS.into_iter().find(|mechanism| offered.iter().any(|other| other == mechanism));
        let mechanism =
            best.with_context(|| format!("no mechanism that the client speaks in {offered:?}"))?;
        let last = self.try_mechanism(mechanism, identity, "").await?;
        if last.name == "success" {
            Ok(())
        } else {
            bail!("authentication as {} failed: {last}", identity.local)
        }
    }

    /// The SASL mechanisms among the features.
    pub(crate) fn mechanisms(&self) -> Vec<String> {
        let features = self.features.as_ref().and_then(|features| features.child(NS_SASL, "mechanisms"));
        features.map(|list| list.children().map(Element::text).collect()).unwrap_or_default()
    }

    /// Binds a resource and returns the full JID that the server gave.
    pub(crate) async fn bind(&mut self, resource: &str) -> Result<String> {
        let request = format!(
            "<iq type='set' id='bind'><bind xmlns='{NS_BIND}'><resource>{}</resource></bind></iq>",
            escape(resource)
        );
        self.connection.send(&request)?;
        let answer = self.connection.next_element().await?;
        let jid = answer.child(NS_BIND, "bind").and_then(|bind| bind.child(NS_BIND, "jid"));
        let jid = jid.map(Element::text).with_context(|| format!("binding was answered with {answer}"))?;
        let features = self.features.as_ref();
        let session = features.and_then(|f| f.child("urn:ietf:params:xml:ns:xmpp-session", "session"));
        if session.is_some_and(|session| session.child(&session.ns, "optional").is_none()) {
            self.request("session", "set", "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>").await?;
        }
        Ok(jid)
    }

    /// Sends an iq to the own account and waits for its result; what else arrives is dropped.
    pub(crate) async fn request(&mut self, id: &str, kind: &str, payload: &str) -> Result<Element> {
        self.connection.send(&format!("<iq type='{kind}' id='{id}'>{payload}</iq>"))?;
        self.result(id).await
    }

    /// The same to another address.
    pub(crate) async fn request_to(
        &mut self,
        to: &str,
        id: &str,
        kind: &str,
        payload: &str,
    ) -> Result<Element> {
        self.connection.send(&format!("<iq type='{kind}' id='{id}' to='{}'>{payload}</iq>", escape(to)))?;
        self.result(id).await
    }

    async fn result(&mut self, id: &str) -> Result<Element> {
        loop {
            let element = self.connection.next_element().await?;
            if element.is(NS_CLIENT, "iq") && element.attribute("id") == Some(id) {
                return match element.attribute("type") {
                    Some("result") => Ok(element),
                    _ => bail!("the request {id} was answered with {element}"),
                };
            }
        }
    }

    /// Enables stream management with resumption.
    pub(crate) async fn enable_sm(&mut self) -> Result<()> {
        self.connection.send(&format!("<enable xmlns='{NS_SM}' resume='true'/>"))?;
        loop {
            let element = self.connection.next_element().await?;
            if element.is(NS_SM, "enabled") {
                return Ok(());
            }
            if element.is(NS_SM, "failed") {
                bail!("<enable/> was answered with {element}");
            }
        }
    }
}
