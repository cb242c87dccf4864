//! The steps of a script, one after the other.

use std::sync::Arc;

use anyhow::{Context as _, Error, Result, anyhow, bail};

use super::stage::Stage;
use crate::client::Identity;
use crate::script::{Action, Choice, Comparison, DeviceName, Level, Pattern, Script, Template};
use crate::xml::escape;

/// A step that did not go as the script says.
pub(super) struct Failure {
    pub(super) line: usize,
    pub(super) error: Error,
}

impl Stage {
    pub(super) async fn perform(&mut self, script: &Script) -> Result<(), Failure> {
        let mut is_set_up = false;
        for step in &script.steps {
            let fail = |error: Error| Failure {
                line: step.line,
                error: match step.action.device() {
                    Some(device) => error.context(device.to_string()),
                    None => error,
                },
            };
            if !step.action.is_setup() && !is_set_up {
                is_set_up = true;
                self.dismiss_helpers().await;
                self.settle_all().await.map_err(|error| Failure { line: step.line, error })?;
            }
            self.refresh_counters();
            let is_login = matches!(
                step.action,
                Action::Connect(..) | Action::Try { .. } | Action::StartTls(_) | Action::Handshake { .. }
            );
            self.sabotage.switch(is_set_up && !is_login);
            self.act(&step.action).await.map_err(fail)?;
            if self.is_over {
                break;
            }
        }
        Ok(())
    }

    async fn act(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::Subscribe { reader, writer } => self.subscribe(reader, writer).await,
            Action::Connect(device, connect) => {
                self.dismiss_helpers().await;
                self.connect(device, connect).await
            }
            Action::Send { device, times, text } => self.send(device, *times, text),
            Action::SendRaw { device, text } => {
                let bytes = text.fill(&self.values, str::to_owned).map_err(Error::msg)?;
                self.device(device)?.login.connection.send_raw(bytes);
                Ok(())
            }
            Action::Receive { device, times, patterns, choice } => {
                for n in 1..=*times {
                    self.count(n, *times);
                    self.receive(device, patterns, *choice).await?;
                }
                Ok(())
            }
            Action::ReceiveNothing(device) => self.expect_nothing(device).await,
            Action::Ignore { device, patterns } => self.ignore(device, patterns),
            Action::OpenStream(device) => {
                self.device(device)?.login.open_stream();
                Ok(())
            }
            Action::StartTls(device) => self.device(device)?.login.start_tls().await,
            Action::Handshake { device, may_fail } => self.shake_hands(device, *may_fail).await,
            Action::Try { device, mechanism, has_wrong_password, on_behalf_of } => {
                let authzid = on_behalf_of.as_ref().map(|who| who.fill_text(&self.values)).transpose();
                let authzid = authzid.map_err(Error::msg)?.unwrap_or_default();
                self.try_mechanism(device, mechanism, *has_wrong_password, &authzid).await
            }
            Action::CloseStream(device) => {
                self.device(device)?.login.connection.send_raw(b"</stream:stream>".to_vec());
                Ok(())
            }
            Action::Drop(device) => {
                let dropped = self.devices.remove(device);
                dropped.map(drop).with_context(|| format!("{device} is not connected"))
            }
            Action::StreamIsClosed(device) => {
                let values = self.values.clone();
                let device = self.device(device)?;
                device.level = Level::Tcp;
                device.expect_close(&values).await
            }
            Action::ConnectionEnds(device) => {
                let values = self.values.clone();
                let device = self.device(device)?;
                device.level = Level::Tcp;
                device.expect_end(&values).await
            }
            Action::Check { left, comparison, right } => self.check(left, *comparison, right),
        }
    }

    async fn shake_hands(&mut self, device: &DeviceName, may_fail: bool) -> Result<()> {
        let result = self.device(device)?.login.shake_hands().await;
        self.is_over = result.is_err() && may_fail;
        if self.is_over { Ok(()) } else { result }
    }

    fn ignore(&mut self, device: &DeviceName, patterns: &[Pattern]) -> Result<()> {
        let mut ignored = self.device(device)?.ignored.to_vec();
        ignored.extend(patterns.iter().cloned());
        let ignored = Arc::new(ignored);
        self.device(device)?.ignored = Arc::clone(&ignored);
        self.memories.entry(device.clone()).or_default().ignored = ignored;
        Ok(())
    }

    /// `{n}` is the number of the turn where there are several.
    fn count(&mut self, n: u32, times: u32) {
        if times > 1 {
            self.values.insert("n".to_owned(), n.to_string());
        }
    }

    async fn receive(&mut self, device: &DeviceName, patterns: &[Pattern], choice: Choice) -> Result<()> {
        let mut values = std::mem::take(&mut self.values);
        let result = match (self.device(device), choice) {
            (Ok(device), Choice::InOrder) => device.receive(patterns, &mut values).await,
            (Ok(device), Choice::AnyOrder) => device.receive_in_any_order(patterns, &mut values).await,
            (Ok(device), Choice::OneOf) => device.receive_one_of(patterns, &mut values).await,
            (Err(error), _) => Err(error),
        };
        self.values = values;
        result
    }

    fn send(&mut self, device: &DeviceName, times: u32, text: &Template) -> Result<()> {
        for n in 1..=times {
            self.count(n, times);
            let bytes = text.fill(&self.values, escape).map_err(Error::msg)?;
            let xml = String::from_utf8(bytes).context("only raw sending can send other bytes")?;
            self.device(device)?.login.connection.send(&xml)?;
        }
        Ok(())
    }

    async fn try_mechanism(
        &mut self,
        device: &DeviceName,
        mechanism: &str,
        is_wrong: bool,
        authzid: &str,
    ) -> Result<()> {
        let mut identity: Identity = self.identity(device.account())?.clone();
        if is_wrong {
            identity.password.push_str("-wrong");
        }
        let device = self.device(device)?;
        let last = device.login.try_mechanism(mechanism, &identity, authzid).await?;
        device.put_back(last);
        Ok(())
    }

    fn check(&self, left: &Template, comparison: Comparison, right: &Template) -> Result<()> {
        let left = left.fill_text(&self.values).map_err(Error::msg)?;
        let right = right.fill_text(&self.values).map_err(Error::msg)?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| anyhow!("{text:?} is no number"));
        let (is_so, words) = match comparison {
            Comparison::Is => (left == right, "is"),
            Comparison::IsNot => (left != right, "is not"),
            Comparison::Less => (number(&left)? < number(&right)?, "<"),
            Comparison::LessOrEqual => (number(&left)? <= number(&right)?, "<="),
        };
        if is_so { Ok(()) } else { bail!("expected {left:?} {words} {right:?}") }
    }
}
