//! Accounts for the scripts.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;

use super::description::AccountsDescription;
use super::instance::{command, fill};
use crate::client::{Endpoint, Identity, Options, Sabotage, Trace};
use crate::xml::escape;

/// Makes accounts on one server.
#[derive(Clone)]
pub(crate) struct Accounts {
    endpoint: Endpoint,
    values: BTreeMap<String, String>,
    /// `None`: in-band registration.
    command: Option<Vec<String>>,
    input: String,
}

impl Accounts {
    pub(super) fn new(
        description: &AccountsDescription,
        endpoint: Endpoint,
        values: &BTreeMap<String, String>,
    ) -> Self {
        Self {
            endpoint,
            values: values.clone(),
            command: description.command.clone(),
            input: description.input.clone(),
        }
    }

    pub(crate) async fn create(&self, identity: &Identity) -> Result<()> {
        let result = match &self.command {
            None => self.register(identity).await,
            Some(words) => self.run(words, identity).await,
        };
        result.with_context(|| format!("cannot make the account {}", identity.local))
    }

    async fn run(&self, words: &[String], identity: &Identity) -> Result<()> {
        let mut values = self.values.clone();
        values.insert("{local}".to_owned(), identity.local.clone());
        values.insert("{jid}".to_owned(), format!("{}@{}", identity.local, self.endpoint.domain));
        values.insert("{password}".to_owned(), identity.password.clone());
        let mut child = command(words, &values)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(fill(&self.input, &values).as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("the command ended with {}: {}", output.status, said.trim());
        }
        Ok(())
    }

    /// XEP-0077 §3.1, on a stream that is not authenticated.
    async fn register(&self, identity: &Identity) -> Result<()> {
        let options = Options {
            name: identity.local.clone(),
            counters: Arc::default(),
            answers_acks: true,
            trace: Trace::new(),
            sabotage: Sabotage::default(),
            timeout: Duration::from_secs(20),
        };
        let mut login = self.endpoint.connect(options).await?;
        login.negotiate().await?;
        login.start_tls().await?;
        login.negotiate().await?;
        let (local, password) = (escape(&identity.local), escape(&identity.password));
        let form = format!(
            "<query xmlns='jabber:iq:register'><username>{local}</username><password>{password}</password></query>"
        );
        let to = self.endpoint.domain.clone();
        login.request_to(&to, "register", "set", &form).await?;
        login.connection.send_raw(b"</stream:stream>".to_vec());
        Ok(())
    }
}
