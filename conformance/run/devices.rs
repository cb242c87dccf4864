//! A device of a script: a connection and what it has received and not looked at.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};

use crate::client::{Incoming, Login, NS_BIND, NS_SASL2, NS_SM};
use crate::script::{Level, Pattern, Values};
use crate::xml::Element;

pub(super) struct Device {
    pub(super) login: Login,
    pub(super) level: Level,
    /// The address that the server bound.
    pub(super) full_jid: String,
    pub(super) ignored: Arc<Vec<Pattern>>,
    seen: VecDeque<Incoming>,
}

impl Device {
    pub(super) fn new(login: Login, level: Level, full_jid: String, ignored: Arc<Vec<Pattern>>) -> Self {
        Self { login, level, full_jid, ignored, seen: VecDeque::new() }
    }

    /// The next thing that is not ignored, or `None` after the timeout.
    async fn next(&mut self, values: &Values) -> Option<Incoming> {
        loop {
            let incoming = match self.seen.pop_front() {
                Some(incoming) => incoming,
                None => self.login.connection.next().await?,
            };
            if !self.ignores(&incoming, values) {
                return Some(incoming);
            }
        }
    }

    /// What has arrived and was not looked at yet.
    pub(super) fn peek(&mut self, values: &Values) -> Option<&Incoming> {
        while let Some(incoming) = self.login.connection.try_next() {
            self.seen.push_back(incoming);
        }
        let ignored = Arc::clone(&self.ignored);
        self.seen.retain(|incoming| !is_ignored(&ignored, incoming, values));
        self.seen.front()
    }

    /// Whether the server has closed the stream, as far as has arrived.
    pub(super) fn has_ended(&mut self, values: &Values) -> bool {
        self.peek(values);
        self.seen.iter().any(|incoming| matches!(incoming, Incoming::Close | Incoming::End(_)))
    }

    /// Forgets all that has arrived; an end of the connection is an error.
    pub(super) fn drain(&mut self, values: &Values) -> Result<()> {
        while self.peek(values).is_some() {
            match self.seen.pop_front() {
                Some(Incoming::End(why)) => bail!("{why}"),
                Some(Incoming::Close) => bail!("the server closed the stream"),
                _ => {}
            }
        }
        Ok(())
    }

    fn ignores(&self, incoming: &Incoming, values: &Values) -> bool {
        is_ignored(&self.ignored, incoming, values)
    }

    /// The next elements must match the patterns one by one.
    pub(super) async fn receive(&mut self, patterns: &[Pattern], values: &mut Values) -> Result<()> {
        for pattern in patterns {
            let incoming = self.next(values).await;
            let Some(Incoming::Element(element) | Incoming::Open(element)) = &incoming else {
                return Err(anyhow!("expected {pattern}, {}", describe(incoming.as_ref())));
            };
            pattern
                .matches(element, values)
                .map_err(|why| anyhow!("expected {pattern}, got {element}: {why}"))?;
            self.note(element);
        }
        Ok(())
    }

    /// A script may bind or resume by hand; the device can be pinged from then on.
    fn note(&mut self, element: &Element) {
        let bound = element.child(NS_BIND, "bind").and_then(|bind| bind.child(NS_BIND, "jid"));
        if let Some(jid) = bound {
            self.full_jid = jid.text();
        }
        // Together with the login, by XEP-0386 or XEP-0198.
        let known = element.child(NS_SASL2, "authorization-identifier").map(Element::text);
        let known = known.filter(|identity| element.is(NS_SASL2, "success") && identity.contains('/'));
        let is_whole = known.is_some();
        self.full_jid = known.unwrap_or(std::mem::take(&mut self.full_jid));
        if bound.is_some() || is_whole || element.is(NS_SM, "resumed") {
            self.level = self.level.max(Level::Bound);
        }
    }

    /// Lets the script see an element that the client has read already.
    pub(super) fn put_back(&mut self, element: Element) {
        self.seen.push_front(Incoming::Element(element));
    }

    /// The next elements must match the patterns, each one of them.
    pub(super) async fn receive_in_any_order(
        &mut self,
        patterns: &[Pattern],
        values: &mut Values,
    ) -> Result<()> {
        let mut missing = patterns.to_vec();
        while !missing.is_empty() {
            let found = self.receive_choice(&missing, values).await?;
            missing.remove(found);
        }
        Ok(())
    }

    /// The next element must match one of the patterns.
    pub(super) async fn receive_one_of(&mut self, patterns: &[Pattern], values: &mut Values) -> Result<()> {
        self.receive_choice(patterns, values).await.map(|_| ())
    }

    /// Which of the patterns the next element matches.
    async fn receive_choice(&mut self, patterns: &[Pattern], values: &mut Values) -> Result<usize> {
        let incoming = self.next(values).await;
        let Some(Incoming::Element(element) | Incoming::Open(element)) = &incoming else {
            let wanted: Vec<String> = patterns.iter().map(Pattern::to_string).collect();
            bail!("expected {}, {}", wanted.join(" or "), describe(incoming.as_ref()));
        };
        let mut misses = Vec::new();
        for (at, pattern) in patterns.iter().enumerate() {
            match pattern.matches(element, values) {
                Ok(()) => {
                    self.note(element);
                    return Ok(at);
                }
                Err(why) => misses.push((pattern, why)),
            }
        }
        // The pattern that comes nearest tells most: same name, then same attributes of the stanza.
        let own_attribute = format!(" of <{}> is ", element.name);
        misses.sort_by_key(|(_, why)| (why.starts_with("it is "), why.contains(&own_attribute)));
        match misses.first() {
            Some((pattern, why)) => bail!("expected {pattern}, got {element}: {why}"),
            None => bail!("expected nothing, got {element}"),
        }
    }

    pub(super) async fn expect_close(&mut self, values: &Values) -> Result<()> {
        match self.next(values).await {
            Some(Incoming::Close) => Ok(()),
            other => bail!("expected </stream:stream>, {}", describe(other.as_ref())),
        }
    }

    pub(super) async fn expect_end(&mut self, values: &Values) -> Result<()> {
        match self.next(values).await {
            Some(Incoming::Close) => match self.next(values).await {
                Some(Incoming::End(why)) => is_clean(&why),
                other => bail!("expected the end of the connection, {}", describe(other.as_ref())),
            },
            Some(Incoming::End(why)) => is_clean(&why),
            other => bail!("expected the end of the connection, {}", describe(other.as_ref())),
        }
    }
}

/// An end because the server's XML could not be read is not the end that a script means.
fn is_clean(why: &str) -> Result<()> {
    anyhow::ensure!(!why.contains("bad XML"), "{why}");
    Ok(())
}

fn is_ignored(ignored: &[Pattern], incoming: &Incoming, values: &Values) -> bool {
    let Incoming::Element(element) = incoming else { return false };
    ignored.iter().any(|pattern| pattern.matches(element, &mut values.clone()).is_ok())
}

pub(super) fn describe(incoming: Option<&Incoming>) -> String {
    match incoming {
        None => "got nothing in time".to_owned(),
        Some(Incoming::Open(element)) => format!("got the stream header {element}"),
        Some(Incoming::Element(element)) => format!("got {element}"),
        Some(Incoming::Close) => "but the server closed the stream".to_owned(),
        Some(Incoming::End(why)) => format!("but {why}"),
    }
}
