//! The servers that are measured, each a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::machine::Tree;
use super::parallel::in_parallel;
use super::relay;
use super::scan;
use super::session::{Account, Door, Session, Wants};
use crate::client::Identity;
use crate::target::{Accounts, Description, Instance};

/// The name of the target that is not a server but the limit of all.
pub(crate) const FLOOR: &str = "floor";

/// Accounts that are made at a time.
const MAKERS: usize = 4;

/// How a server is started.
pub(super) struct Target {
    /// As on the command line.
    pub(super) name: String,
    description: Option<Description>,
    binary: Option<PathBuf>,
}

/// One that runs.
pub(super) struct Server {
    pub(super) door: Door,
    pub(super) tree: Tree,
    accounts: Option<Accounts>,
    host: Host,
}

enum Host {
    Instance(Box<Instance>),
    Relay(Child),
}

impl Target {
    pub(super) fn load(folder: &Path, name: &str, binary: Option<&Path>) -> Result<Self> {
        let description = match name {
            FLOOR => None,
            _ => Some(Description::load(folder, name)?.for_bench()),
        };
        Ok(Self { name: name.to_owned(), description, binary: binary.map(Path::to_owned) })
    }

    /// Whether it only passes bytes on.
    pub(super) fn is_floor(&self) -> bool {
        self.description.is_none()
    }

    /// What it is called in reports.
    pub(super) fn title(&self) -> &str {
        self.description.as_ref().map_or("floor", |description| &description.name)
    }

    pub(super) async fn start(&self) -> Result<Server> {
        let server = match &self.description {
            None => start_relay().await,
            Some(description) => start_instance(description, self.binary.as_deref()).await,
        };
        server.with_context(|| format!("cannot start {}", self.name))
    }
}

async fn start_relay() -> Result<Server> {
    let program = std::env::current_exe().context("the own program is not known")?;
    let mut command = Command::new(program);
    command.arg("relay").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("cannot start the relay")?;
    let output = child.stdout.take().context("the relay has no output")?;
    let line = BufReader::new(output).lines().next_line().await?.context("the relay ended")?;
    let port: u16 = line.trim().parse().context("the relay named no port")?;
    let tree = Tree::new(child.id().context("the relay ended")?);
    let door = Door::new(relay::DOMAIN, SocketAddr::from(([127, 0, 0, 1], port)))?;
    Ok(Server { door, tree, accounts: None, host: Host::Relay(child) })
}

async fn start_instance(description: &Description, binary: Option<&Path>) -> Result<Server> {
    let instance = Instance::start(description, binary).await?;
    let address = instance.endpoint.direct_tls.as_deref().context("the target has no port for direct TLS")?;
    let door = Door::new(&instance.endpoint.domain, address.parse().context("no address and port")?)?;
    let tree =
        Tree::new(instance.process_id().context("only servers that are started here can be measured")?);
    let accounts = Some(instance.accounts.clone());
    Ok(Server { door, tree, accounts, host: Host::Instance(Box::new(instance)) })
}

impl Server {
    /// New accounts, whose names begin with `prefix`.
    pub(super) async fn accounts(&self, prefix: &str, count: usize) -> Result<Vec<Arc<Account>>> {
        let maker = self.accounts.clone().context("the floor knows no accounts")?;
        let (prefix, domain) = (prefix.to_owned(), self.door.domain.clone());
        in_parallel(count, MAKERS, move |number| {
            let (maker, account) = (maker.clone(), Account::new(format!("{prefix}{number}"), &domain));
            async move {
                let identity = Identity { local: account.local.clone(), password: account.password.clone() };
                maker.create(&identity).await?;
                Ok(Arc::new(account))
            }
        })
        .await
    }

    /// What it says it is (XEP-0092), or nothing.
    pub(super) async fn version(&self) -> Result<String> {
        if self.accounts.is_none() {
            return Ok(String::new());
        }
        let accounts = self.accounts("version", 1).await?;
        let account = accounts.first().context("no account")?;
        let mut session = Session::log_in(&self.door, 0, account, "v", Wants::default()).await?;
        let query = "<query xmlns='jabber:iq:version'/>";
        let answer = session.request(&self.door.domain, "get", query).await.unwrap_or_default();
        session.close().await?;
        Ok(scan::text(&answer, "version").unwrap_or_default().to_owned())
    }

    /// Asks the process to stop and waits until it has.
    pub(super) async fn halt(&mut self) -> Result<()> {
        match &mut self.host {
            Host::Instance(instance) => instance.halt().await,
            Host::Relay(_) => bail!("the relay has nothing to come back to"),
        }
    }

    /// Starts it again, with its files and ports.
    pub(super) async fn start_again(&mut self) -> Result<()> {
        let Host::Instance(instance) = &mut self.host else { bail!("the relay is not started again") };
        instance.start_again().await?;
        self.tree = Tree::new(instance.process_id().context("the server has ended")?);
        Ok(())
    }

    pub(super) async fn stop(self) -> Result<()> {
        match self.host {
            Host::Instance(instance) => instance.stop(false).await.map(|_| ()),
            Host::Relay(mut child) => {
                drop(child.stdin.take());
                let end = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
                ensure!(end.context("the relay did not end")??.success(), "the relay failed");
                Ok(())
            }
        }
    }
}
