//! The networks of the devices: each connection passes through a relay that can slow it down, stop it, or end it.
//!
//! The near side is the device's, the far side the server's. Both are streams of bytes of any kind.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;

use super::cast::DeviceNo;
use super::operation::Loss;

/// Bytes that a relay takes before the other side took them.
const BUFFER: usize = 64 * 1024;

/// The server's side of a connection.
pub trait Far: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Ends the connection so that the server learns of an error, not of an orderly end.
    fn abort(self);
}

impl Far for DuplexStream {
    fn abort(self) {}
}

impl Far for tokio::net::TcpStream {
    fn abort(self) {
        // Without it the end would look orderly. If it fails, the connection is gone anyhow.
        let _ = self.set_zero_linger();
    }
}

/// How a network is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Weather {
    loss: Option<Loss>,
    delay: Duration,
    /// The device has turned to another connection.
    is_abandoned: bool,
}

/// The networks of all devices, by their numbers.
#[derive(Debug, Default)]
pub struct Network {
    weather: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    /// By the numbers of the devices.
    now: Vec<watch::Sender<Weather>>,
    /// Of connections that the devices gave up. They stay as they are while this is here.
    abandoned: Vec<watch::Sender<Weather>>,
}

impl Network {
    /// Puts a connection to the server behind the device's network, which works again, and returns the near side.
    /// What is left of an earlier connection of the device stays as it is, as far as the server can see.
    pub fn join(&self, device: DeviceNo, far: impl Far) -> DuplexStream {
        let mut all = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        while all.now.len() <= device.0 {
            all.now.push(watch::channel(Weather::default()).0);
        }
        let (sender, receiver) = watch::channel(Weather::default());
        if let Some(slot) = all.now.get_mut(device.0) {
            let old = std::mem::replace(slot, sender);
            old.send_modify(|weather| weather.is_abandoned = true);
            all.abandoned.retain(|sender| !sender.is_closed());
            all.abandoned.push(old);
        }
        let (near, inner) = tokio::io::duplex(BUFFER);
        tokio::spawn(relay(inner, far, receiver));
        near
    }

    /// The device's connection fails.
    pub fn lose(&self, device: DeviceNo, how: Loss) {
        self.change(device, |weather| weather.loss = Some(how));
    }

    /// Each piece takes this much longer from now on.
    pub fn delay(&self, device: DeviceNo, time: Duration) {
        self.change(device, |weather| weather.delay = time);
    }

    fn change(&self, device: DeviceNo, change: impl FnOnce(&mut Weather)) {
        let all = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = all.now.get(device.0) {
            sender.send_modify(change);
        }
    }
}

/// What ends a relay, or makes it look at the weather again.
enum Turn {
    /// Bytes that came from the device.
    Up(io::Result<usize>),
    /// Bytes that came from the server.
    Down(io::Result<usize>),
    Changed,
    /// Nobody can change the weather any more.
    Over,
}

async fn relay<F: Far>(mut near: DuplexStream, mut far: F, mut weather: watch::Receiver<Weather>) {
    let (mut up, mut down) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let now = *weather.borrow_and_update();
        match now.loss {
            Some(Loss::Reset) => return far.abort(),
            Some(Loss::Cut) => return,
            Some(Loss::HalfOpen) => return hold(near, far, weather, false).await,
            Some(Loss::BlackHole) => return hold(near, far, weather, true).await,
            Some(Loss::Deaf) | None => {}
        }
        let is_deaf = now.loss == Some(Loss::Deaf);
        let turn = tokio::select! {
            biased;
            changed = weather.changed() => if changed.is_ok() { Turn::Changed } else { Turn::Over },
            read = near.read(&mut up) => Turn::Up(read),
            read = far.read(&mut down), if !is_deaf => Turn::Down(read),
        };
        match turn {
            Turn::Changed => {}
            // The device is gone. Its system tells the server, if there is a network to tell it by.
            Turn::Up(Ok(0) | Err(_)) if !is_deaf => return,
            Turn::Up(Ok(0) | Err(_)) => return hold(near, far, weather, true).await,
            Turn::Over | Turn::Down(Ok(0) | Err(_)) => return,
            Turn::Up(Ok(length)) => {
                if !pass(&mut far, up.get(..length), now.delay, &mut weather).await {
                    return;
                }
            }
            Turn::Down(Ok(length)) => {
                if !pass(&mut near, down.get(..length), now.delay, &mut weather).await {
                    return;
                }
            }
        }
    }
}

/// Hands bytes on, after the delay; what is on its way when the network fails is lost. Whether the other side took them.
async fn pass<W: AsyncWrite + Unpin>(
    to: &mut W,
    bytes: Option<&[u8]>,
    delay: Duration,
    weather: &mut watch::Receiver<Weather>,
) -> bool {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
        if matches!(weather.borrow().loss, Some(loss) if loss != Loss::Deaf) {
            return true;
        }
    }
    let write = async {
        to.write_all(bytes.unwrap_or_default()).await?;
        to.flush().await
    };
    tokio::select! {
        biased;
        written = write => written.is_ok(),
        // A side that does not read must not keep the network from failing.
        () = failed(weather) => true,
    }
}

async fn failed(weather: &mut watch::Receiver<Weather>) {
    let is_over = |weather: &Weather| weather.loss.is_some() || weather.is_abandoned;
    if weather.wait_for(is_over).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Nothing passes, and the server is not told. It ends with the run.
async fn hold<F: Far>(
    near: DuplexStream,
    far: F,
    mut weather: watch::Receiver<Weather>,
    is_hidden_from_device: bool,
) {
    let _near = is_hidden_from_device.then_some(near);
    while weather.changed().await.is_ok() {}
    far.abort();
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;

    const DEVICE: DeviceNo = DeviceNo(0);

    fn pair(network: &Network) -> (DuplexStream, DuplexStream) {
        let (server, far) = tokio::io::duplex(1024);
        (network.join(DEVICE, far), server)
    }

    async fn arrives(from: &mut DuplexStream, to: &mut DuplexStream) -> Option<bool> {
        if from.write_all(b"x").await.is_err() {
            return None;
        }
        let mut byte = [0];
        match tokio::time::timeout(Duration::from_secs(5), to.read(&mut byte)).await {
            Ok(Ok(0) | Err(_)) => None,
            Ok(Ok(_)) => Some(true),
            Err(_) => Some(false),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_each_side_sees_of_a_loss() {
        for (how, up, down) in [
            (None, Some(true), Some(true)),
            (Some(Loss::Reset), None, None),
            (Some(Loss::Cut), None, None),
            (Some(Loss::BlackHole), Some(false), Some(false)),
            (Some(Loss::Deaf), Some(true), Some(false)),
            (Some(Loss::HalfOpen), None, None),
        ] {
            let network = Network::default();
            let (mut near, mut server) = pair(&network);
            assert_eq!(arrives(&mut near, &mut server).await, Some(true));
            if let Some(how) = how {
                network.lose(DEVICE, how);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(arrives(&mut near, &mut server).await, up, "{how:?}, up");
            // The server of a half-open connection writes, and nothing comes of it.
            let seen = arrives(&mut server, &mut near).await;
            assert_eq!(seen, down, "{how:?}, down");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_of_a_half_open_connection_learns_nothing() {
        let network = Network::default();
        let (near, mut server) = pair(&network);
        network.lose(DEVICE, Loss::HalfOpen);
        drop(near);
        let (mut again, mut other) = pair(&network);
        let mut byte = [0];
        let end = tokio::time::timeout(Duration::from_secs(60), server.read(&mut byte)).await;
        assert!(end.is_err(), "{end:?}");
        assert_eq!(arrives(&mut again, &mut other).await, Some(true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_network_is_slow_and_keeps_the_order() {
        let network = Network::default();
        let (mut near, mut server) = pair(&network);
        network.delay(DEVICE, Duration::from_millis(200));
        let start = tokio::time::Instant::now();
        near.write_all(b"ab").await.unwrap();
        let mut bytes = [0; 2];
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"ab");
        assert_eq!(start.elapsed().as_millis(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_dies_is_noticed() {
        let network = Network::default();
        let (near, mut server) = pair(&network);
        drop(near);
        let mut byte = [0];
        assert_eq!(server.read(&mut byte).await.unwrap(), 0);
    }
}
