//! A server that is a process, behind sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use super::cast::{Cast, DeviceNo};
use super::device::{Account, Accounts};
use super::network::Network;
use super::operation::Loss;
use super::world::{Link, World};
use crate::client::{Endpoint, Identity, NS_TLS, tls_config};
use crate::target::{Description, Instance};
use crate::xml::{Document, Element, Event, NS_CLIENT, NS_STREAM, Reader, escape};

/// A target's server and the networks of the devices.
pub(super) struct Real {
    endpoint: Endpoint,
    instance: Mutex<Option<Instance>>,
    /// The group of the server's processes; 0 if they are not ours.
    group: AtomicI32,
    network: Network,
    tls: TlsConnector,
}

impl Real {
    /// Starts the server, and makes an account for each of the cast.
    pub(super) async fn open(
        description: &Description,
        binary: Option<&std::path::Path>,
        cast: &Cast,
        run: &str,
    ) -> Result<(Self, Accounts)> {
        let instance = Instance::start(description, binary).await?;
        let mut users = Vec::new();
        for name in &cast.users {
            // On a server that is not ours, names must not have been used before.
            let local = if description.start.is_some() { name.clone() } else { format!("{name}-{run}") };
            let identity = Identity { password: format!("secret-{local}"), local };
            instance.accounts.create(&identity).await?;
            users.push(Account { local: identity.local, password: identity.password });
        }
        tokio::time::sleep(Duration::from_secs(description.accounts.durable_after)).await;
        let endpoint = instance.endpoint.clone();
        let is_direct = endpoint.direct_tls.is_some();
        let real = Self {
            group: AtomicI32::new(group_of(&instance)),
            instance: Mutex::new(Some(instance)),
            network: Network::default(),
            tls: TlsConnector::from(Arc::new(tls_config(is_direct).context("cannot set TLS up")?)),
            endpoint,
        };
        Ok((real, Accounts { domain: description.domain.clone(), users }))
    }

    /// Ends the server for good. `keeps_folder` leaves its files.
    pub(super) async fn close(&self, keeps_folder: bool) -> Result<Option<std::path::PathBuf>> {
        match self.instance.lock().await.take() {
            Some(instance) => instance.stop(keeps_folder).await,
            None => Ok(None),
        }
    }

    async fn secure(&self, mut near: DuplexStream, is_direct: bool) -> Result<Box<dyn Link>> {
        if !is_direct {
            start_tls(&mut near, &self.endpoint.domain).await?;
        }
        let name =
            ServerName::try_from(self.endpoint.domain.clone()).context("the domain is no host name")?;
        Ok(Box::new(self.tls.connect(name, near).await.context("the TLS handshake failed")?))
    }
}

fn group_of(instance: &Instance) -> i32 {
    instance.process_id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0)
}

impl World for Real {
    async fn connect(&self, device: DeviceNo) -> Result<Box<dyn Link>> {
        let (address, is_direct) = match (&self.endpoint.direct_tls, &self.endpoint.starttls) {
            (Some(address), _) => (address, true),
            (None, Some(address)) => (address, false),
            (None, None) => bail!("the target names no port"),
        };
        let tcp =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        tcp.set_nodelay(true)?;
        let near = self.network.join(device, tcp);
        self.secure(near, is_direct).await
    }

    fn lose(&self, device: DeviceNo, how: Loss) {
        self.network.lose(device, how);
    }

    fn delay(&self, device: DeviceNo, time: Duration) {
        self.network.delay(device, time);
    }

    fn kill(&self) {
        if let Some(group) = Pid::from_raw(self.group.load(Ordering::SeqCst)) {
            // If it is gone already, it is as dead as it has to be.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    async fn stop(&self) -> Result<()> {
        match self.instance.lock().await.as_mut() {
            Some(instance) => instance.halt().await,
            None => bail!("the server is closed"),
        }
    }

    async fn start(&self) -> Result<()> {
        let mut instance = self.instance.lock().await;
        let instance = instance.as_mut().context("the server is closed")?;
        instance.start_again().await.context("the server does not start again")?;
        self.group.store(group_of(instance), Ordering::SeqCst);
        Ok(())
    }

    async fn step_clock(&self, seconds: i64) -> Result<()> {
        match self.instance.lock().await.as_ref() {
            Some(instance) => instance.step_clock(seconds),
            None => bail!("the server is closed"),
        }
    }
}

/// RFC 6120 §5, up to `<proceed/>`.
async fn start_tls(near: &mut DuplexStream, domain: &str) -> Result<()> {
    let header = format!(
        "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAM}'>",
        escape(domain)
    );
    near.write_all(header.as_bytes()).await?;
    let mut reader = Reader::new(Document::Stream);
    next_element(near, &mut reader).await.context("no features")?;
    near.write_all(format!("<starttls xmlns='{NS_TLS}'/>").as_bytes()).await?;
    let answer = next_element(near, &mut reader).await?;
    if answer.is(NS_TLS, "proceed") { Ok(()) } else { bail!("<starttls/> was answered with {answer}") }
}

async fn next_element(near: &mut DuplexStream, reader: &mut Reader) -> Result<Element> {
    let mut bytes = [0; 4096];
    loop {
        match reader.next().map_err(anyhow::Error::msg)? {
            Some(Event::Element(element)) => return Ok(element),
            Some(Event::Open(_)) => {}
            Some(Event::Close) => bail!("the server closed the stream"),
            None => {
                let length = near.read(&mut bytes).await?;
                if length == 0 {
                    bail!("the connection ended");
                }
                reader.feed(bytes.get(..length).unwrap_or_default());
            }
        }
    }
}
