//! What a script says is the case before it begins: devices online, subscriptions made.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use super::devices::Device;
use super::stage::{Memory, Stage};
use crate::client::{Incoming, Login};
use crate::script::{Connect, DeviceName, Level};
use crate::xml::escape;

impl Stage {
    /// Connects a device as far as the script says. An earlier connection of this name ends.
    pub(super) async fn connect(&mut self, name: &DeviceName, connect: &Connect) -> Result<()> {
        self.devices.remove(name);
        let ignored = Arc::new(self.context.ignored.clone());
        let memory = self.memories.entry(name.clone());
        let memory = memory.or_insert_with(|| Memory { ignored, ..Memory::default() }).clone();
        let mut options = self.options(name.as_str(), memory.counters);
        options.answers_acks = !connect.has_manual_acks;
        let endpoint = &self.context.endpoint;
        let in_clear = connect.level == Level::Tcp || connect.level == Level::Stream;
        if in_clear && endpoint.starttls.is_none() {
            bail!("not offered: a port for STARTTLS");
        }
        let mut login = endpoint.connect(options).await?;
        let mut full_jid = format!("{}/{}", self.bare_jid(name.account()), name.resource());
        if connect.level >= Level::Stream {
            login.negotiate().await?;
        }
        if connect.level >= Level::Tls && endpoint.starttls.is_some() {
            login.start_tls().await?;
            login.negotiate().await?;
        }
        if connect.level >= Level::Login {
            login.authenticate(self.identity(name.account())?).await?;
            login.negotiate().await?;
        }
        if connect.level >= Level::Bound {
            full_jid = login.bind(name.resource()).await?;
            become_available(&mut login, connect).await?;
        }
        self.values.insert(name.to_string(), full_jid.clone());
        self.devices.insert(name.clone(), Device::new(login, connect.level, full_jid, memory.ignored));
        Ok(())
    }

    /// `reader` gets the presence of `writer` from now on.
    pub(super) async fn subscribe(&mut self, reader: &str, writer: &str) -> Result<()> {
        let (reader_jid, writer_jid) = (self.bare_jid(reader), self.bare_jid(writer));
        self.helper_sends(reader, &writer_jid, "subscribe").await?;
        self.helper_sends(writer, &reader_jid, "subscribed").await?;
        let helper = self.helper(reader).await?;
        let roster = helper.request("roster", "get", "<query xmlns='jabber:iq:roster'/>").await?;
        let query = roster.child("jabber:iq:roster", "query").context("no roster")?;
        let item = query.children().find(|item| item.attribute("jid") == Some(&writer_jid));
        match item.and_then(|item| item.attribute("subscription")) {
            Some("to" | "both") => Ok(()),
            _ => bail!("{reader} could not be subscribed to {writer}: {roster}"),
        }
    }

    async fn helper_sends(&mut self, account: &str, to: &str, kind: &str) -> Result<()> {
        let id = self.next_ping();
        let to = escape(to);
        let connection = &mut self.helper(account).await?.connection;
        connection.send(&format!("<presence type='{kind}' to='{to}'/>"))?;
        connection.send(&format!("<iq type='get' id='{id}' to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>"))?;
        connection.synced(&id).await.with_context(|| format!("{account} sends {kind} to {to}"))
    }

    async fn helper(&mut self, account: &str) -> Result<&mut Login> {
        if !self.helpers.contains_key(account) {
            let name = format!("{account}/(set-up)");
            let mut login = self.context.endpoint.connect(self.options(&name, Arc::default())).await?;
            login.negotiate().await?;
            if self.context.endpoint.starttls.is_some() {
                login.start_tls().await?;
                login.negotiate().await?;
            }
            login.authenticate(self.identity(account)?).await?;
            login.negotiate().await?;
            login.bind("set-up").await?;
            self.helpers.insert(account.to_owned(), login);
        }
        self.helpers.get_mut(account).context("the helper was just made")
    }

    /// The helpers leave before the first device of the script comes.
    pub(super) async fn dismiss_helpers(&mut self) {
        for (_, mut login) in self.helpers.drain() {
            login.connection.send_raw(b"</stream:stream>".to_vec());
            while !matches!(login.connection.next().await, None | Some(Incoming::Close | Incoming::End(_))) {}
        }
    }
}

async fn become_available(login: &mut Login, connect: &Connect) -> Result<()> {
    if connect.has_sm {
        login.enable_sm().await?;
    }
    if connect.has_carbons {
        login.request("carbons", "set", "<enable xmlns='urn:xmpp:carbons:2'/>").await?;
    }
    if connect.wants_roster {
        login.request("roster", "get", "<query xmlns='jabber:iq:roster'/>").await?;
    }
    if connect.level == Level::Online {
        let priority = connect.priority.map(|p| format!("<priority>{p}</priority>")).unwrap_or_default();
        login.connection.send(&format!("<presence>{priority}</presence>"))?;
    }
    Ok(())
}
