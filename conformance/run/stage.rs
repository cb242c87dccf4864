//! What one script plays on: its accounts, its devices, the values of its names.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::devices::Device;
use crate::client::{Counters, Damage, Endpoint, Identity, Login, Options, Sabotage, Trace};
use crate::script::{DeviceName, Pattern, Place, Script, Values};
use crate::target::Accounts;

/// What all scripts of a run share.
pub(super) struct Context {
    pub(super) endpoint: Endpoint,
    pub(super) accounts: Accounts,
    pub(super) ignored: Vec<Pattern>,
    /// How long a client waits for what it expects. Only failures take that long.
    pub(super) timeout: Duration,
    /// Part of all account names, so that runs on one server do not meet.
    pub(super) run_id: String,
    /// What is done to all that the server sends.
    pub(super) damage: Option<Damage>,
}

/// What outlives the connections of a device.
#[derive(Default, Clone)]
pub(super) struct Memory {
    pub(super) counters: Arc<Counters>,
    pub(super) ignored: Arc<Vec<Pattern>>,
}

pub(super) struct Stage {
    pub(super) context: Arc<Context>,
    pub(super) trace: Trace,
    pub(super) identities: BTreeMap<String, Identity>,
    /// Services that the script talks to.
    pub(super) services: Vec<String>,
    pub(super) devices: BTreeMap<DeviceName, Device>,
    /// Of all devices that ever connected.
    pub(super) memories: BTreeMap<DeviceName, Memory>,
    pub(super) values: Values,
    /// Connections that prepare subscriptions, by account.
    pub(super) helpers: HashMap<String, Login>,
    /// The server took a way that is allowed and that the rest of the script does not follow.
    pub(super) is_over: bool,
    pub(super) sabotage: Sabotage,
    ping_count: u32,
}

impl Stage {
    /// Makes the accounts of the script. `number` tells scripts of one run apart.
    pub(super) async fn set(
        context: Arc<Context>,
        script: &Script,
        number: usize,
        trace: Trace,
    ) -> Result<Self> {
        let mut identities = BTreeMap::new();
        for name in script.accounts.iter().chain(&script.ghosts) {
            let local = format!("{name}-{}-{number}", context.run_id);
            let identity = Identity { password: format!("secret-{local}"), local };
            if script.accounts.contains(name) {
                context.accounts.create(&identity).await?;
            }
            identities.insert(name.clone(), identity);
        }
        let mut stage = Self {
            sabotage: Sabotage::new(context.damage),
            services: services(script, &context.endpoint.domain),
            context,
            trace,
            identities,
            devices: BTreeMap::new(),
            memories: BTreeMap::new(),
            values: Values::new(),
            helpers: HashMap::new(),
            is_over: false,
            ping_count: 0,
        };
        stage.name_everything(script);
        Ok(stage)
    }

    fn name_everything(&mut self, script: &Script) {
        let domain = self.context.endpoint.domain.clone();
        self.values.insert("domain".to_owned(), domain.clone());
        for (name, identity) in &self.identities {
            self.values.insert(name.clone(), format!("{}@{domain}", identity.local));
            self.values.insert(format!("{name}.local"), identity.local.clone());
            self.values.insert(format!("{name}.password"), identity.password.clone());
        }
        for name in &script.variables {
            if let Some(device) = DeviceName::parse(name) {
                let bare = self.bare_jid(device.account());
                self.values.insert(name.clone(), format!("{bare}/{}", device.resource()));
            }
        }
    }

    pub(super) fn bare_jid(&self, account: &str) -> String {
        self.values.get(account).cloned().unwrap_or_default()
    }

    pub(super) fn identity(&self, account: &str) -> Result<&Identity> {
        self.identities.get(account).with_context(|| format!("no account {account}"))
    }

    pub(super) fn device(&mut self, name: &DeviceName) -> Result<&mut Device> {
        self.devices.get_mut(name).with_context(|| format!("{name} is not connected"))
    }

    pub(super) fn options(&self, name: &str, counters: Arc<Counters>) -> Options {
        Options {
            name: name.to_owned(),
            counters,
            answers_acks: true,
            trace: self.trace.clone(),
            sabotage: self.sabotage.clone(),
            timeout: self.context.timeout,
        }
    }

    pub(super) fn next_ping(&mut self) -> String {
        self.ping_count = self.ping_count.saturating_add(1);
        format!("{}{}", crate::client::SYNC_PREFIX, self.ping_count)
    }

    /// Brings the counters among the values up to date.
    pub(super) fn refresh_counters(&mut self) {
        for (name, Memory { counters, .. }) in &self.memories {
            self.values.insert(format!("{name}.sent"), counters.sent().to_string());
            self.values.insert(format!("{name}.received"), counters.received().to_string());
        }
    }

    /// Says goodbye on all connections.
    pub(super) fn clear(&mut self) {
        for device in self.devices.values() {
            device.login.connection.send_raw(b"</stream:stream>".to_vec());
        }
        self.devices.clear();
        self.helpers.clear();
    }
}

/// The services that a script needs.
fn services(script: &Script, domain: &str) -> Vec<String> {
    let is_needed = script.needs.iter().any(|need| need.place == Place::Pubsub);
    is_needed.then(|| format!("pubsub.{domain}")).into_iter().collect()
}
