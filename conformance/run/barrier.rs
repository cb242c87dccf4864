//! Proof that nothing more is on its way, without waiting for a time.
//!
//! Between one sender and one recipient, order is kept (RFC 6120 §10.1). So when a ping
//! has come from each that could have caused something, everything caused before has come too.

use anyhow::{Context as _, Result, bail};

use super::devices::describe;
use super::stage::Stage;
use crate::script::{DeviceName, Level};
use crate::xml::escape;

impl Stage {
    /// Waits until all that was sent to this device has arrived.
    pub(super) async fn settle(&mut self, target: &DeviceName) -> Result<()> {
        let full_jid = self.device(target)?.full_jid.clone();
        for other in self.bound_devices() {
            if &other != target {
                let result = self.ping(&other, Some(&full_jid)).await;
                // A stream that has ended brings no more: its end came after all that it sent.
                let values = self.values.clone();
                if !self.device(&other)?.has_ended(&values) {
                    result?;
                }
            }
        }
        // What the accounts and the domain sent, bounces above all.
        let mut addresses: Vec<String> = self.identities.keys().map(|name| self.bare_jid(name)).collect();
        addresses.push(self.context.endpoint.domain.clone());
        addresses.extend(self.services.iter().cloned());
        for address in addresses {
            self.ping(target, Some(&address)).await?;
        }
        self.ping(target, None).await
    }

    /// As `settle` for all devices that are online, and forgets what arrived.
    pub(super) async fn settle_all(&mut self) -> Result<()> {
        let devices = self.bound_devices();
        // What the first round's arrivals cause arrives in the second.
        for _ in 0..2 {
            for device in &devices {
                self.settle(device).await.with_context(|| format!("{device} does not settle"))?;
            }
        }
        for name in &devices {
            let values = self.values.clone();
            self.device(name)?.drain(&values).with_context(|| format!("{name} was set up"))?;
        }
        Ok(())
    }

    pub(super) async fn expect_nothing(&mut self, name: &DeviceName) -> Result<()> {
        self.settle(name).await.context("cannot prove that nothing comes")?;
        let values = self.values.clone();
        match self.device(name)?.peek(&values) {
            None => Ok(()),
            some => bail!("expected nothing more, {}", describe(some)),
        }
    }

    fn bound_devices(&self) -> Vec<DeviceName> {
        let bound = self.devices.iter().filter(|(_, device)| device.level >= Level::Bound);
        bound.map(|(name, _)| name.clone()).collect()
    }

    /// A ping whose answer, result or error, must come.
    async fn ping(&mut self, from: &DeviceName, to: Option<&str>) -> Result<()> {
        let id = self.next_ping();
        let to_attribute = to.map(|to| format!(" to='{}'", escape(to))).unwrap_or_default();
        let connection = &mut self.device(from)?.login.connection;
        connection
            .send(&format!("<iq type='get' id='{id}'{to_attribute}><ping xmlns='urn:xmpp:ping'/></iq>"))?;
        let result = connection.synced(&id).await;
        result.with_context(|| format!("a ping from {from} to {}", to.unwrap_or("its own account")))
    }
}
