//! The login of a phone that wakes: SASL2 (XEP-0388) by a token (XEP-0484) with the stream resumed in it (XEP-0198 §6), one
//! round trip after TLS. The first login gets the token.

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

use super::scan;
use super::session::{Account, Door, Former, Session, show, within};
use crate::client::{NS_SASL2, NS_SM, ScramSha1};
use crate::xml::escape;

const NS_FAST: &str = "urn:xmpp:fast:0";
/// Bound to the connection: what a careful client takes.
const MECHANISM: &str = "HT-SHA-256-EXPR";
/// RFC 9266 §4
const EXPORTER: &[u8] = b"EXPORTER-Channel-Binding";

/// A device that logs in by tokens.
#[derive(Debug, Clone)]
pub(super) struct Device {
    /// As its user agent says it, an UUID.
    id: String,
    token: String,
}

impl Device {
    /// The first login, bound and with stream management.
    pub(super) async fn log_in(
        door: &Door,
        source: u8,
        account: &Account,
        number: usize,
    ) -> Result<(Self, Session)> {
        let mut session = Session::open(door, source).await?;
        ensure!(session.offers(&format!(">{MECHANISM}<")), "{MECHANISM} (XEP-0484) is not offered");
        let id = format!("00000000-0000-4000-8000-{number:012x}");
        let mut scram = ScramSha1::new(&account.local)?;
        let (name, first) = (ScramSha1::NAME, scram.first());
        let wishes = format!(
            "<user-agent id='{id}'/><request-token xmlns='{NS_FAST}' mechanism='{MECHANISM}'/>\
             <bind xmlns='urn:xmpp:bind:0'><tag>bench</tag><enable xmlns='urn:xmpp:carbons:2'/>\
             <enable xmlns='{NS_SM}' resume='true' max='600'/></bind>"
        );
        session.queue(
            format!(
                "<authenticate xmlns='{NS_SASL2}' mechanism='{name}'><initial-response>{first}</initial-response>\
                 {wishes}</authenticate>"
            )
            .as_bytes(),
        );
        session.flush().await?;
        let element = within("SASL2", session.next_element()).await?;
        let challenge = scan::text(&element, "challenge");
        let challenge = challenge.with_context(|| format!("no challenge but {}", show(&element)))?;
        let last = scram.last(challenge, account.salted(challenge)?)?;
        session.queue(format!("<response xmlns='{NS_SASL2}'>{last}</response>").as_bytes());
        session.flush().await?;
        let success = succeeded(&mut session).await?;
        let proof = scan::text(&success, "additional-data").context("no signature of the server")?;
        ensure!(scram.is_proven(proof), "the server's signature is wrong");
        let enabled = scan::child(&success, "enabled").context("no stream management")?;
        session.goes_on(scan::attribute(enabled, "id").context("the stream cannot be resumed")?, 0);
        let token = token(&success).context("no token")?.to_owned();
        // The features that follow.
        within("SASL2", session.next_element()).await?;
        session.queue(b"<presence/>");
        session.flush().await?;
        Ok((Self { id, token }, session))
    }

    /// Comes back, by the token and with its stream.
    pub(super) async fn come_back(
        &mut self,
        door: &Door,
        source: u8,
        account: &Account,
        former: &Former,
    ) -> Result<Session> {
        let mut session = Session::connect(door, source, scan::Scanner::default()).await?;
        let binding = session.exported(EXPORTER)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.token.as_bytes());
        let says = |who: &[u8]| hmac::sign(&key, &[who, &binding].concat());
        let proof = [account.local.as_bytes(), b"\0", says(b"Initiator").as_ref()].concat();
        let proof = BASE64.encode(proof);
        let (id, previous) = (&self.id, former.resume_id.as_deref().context("nothing to resume")?);
        let received = former.received;
        // The header and the rest in one go: what is offered is known from before.
        session.queue_header(&door.domain);
        session.queue(
            format!(
                "<authenticate xmlns='{NS_SASL2}' mechanism='{MECHANISM}'><initial-response>{proof}</initial-response>\
                 <user-agent id='{id}'/><fast xmlns='{NS_FAST}'/>\
                 <resume xmlns='{NS_SM}' h='{received}' previd='{}'/></authenticate>",
                escape(previous)
            )
            .as_bytes(),
        );
        session.flush().await?;
        within("features", session.next_element()).await?;
        let success = succeeded(&mut session).await?;
        let answer = scan::text(&success, "additional-data").context("no proof of the server")?;
        ensure!(BASE64.decode(answer)? == says(b"Responder").as_ref(), "the server does not know the token");
        ensure!(scan::child(&success, "resumed").is_some(), "not resumed: {}", show(&success));
        if let Some(token) = token(&success) {
            token.clone_into(&mut self.token);
        }
        session.goes_on(previous, received);
        Ok(session)
    }
}

async fn succeeded(session: &mut Session) -> Result<Vec<u8>> {
    let element = within("SASL2", session.next_element()).await?;
    if scan::name(&element) != b"success" {
        bail!("no success but {}", show(&element));
    }
    Ok(element)
}

/// The token that the server gives, perhaps in the place of the last.
fn token(success: &[u8]) -> Option<&str> {
    scan::attribute(scan::child(success, "token")?, "token")
}
