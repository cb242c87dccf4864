//! What the devices of a run live in: a server and the way to it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::cast::DeviceNo;
use super::operation::Loss;

/// A stream of bytes to the server, secured as the server wants it; it begins with a stream header.
pub trait Link: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Link for T {}

/// A server that devices can reach. One is a process behind sockets; another may live in the same thread.
///
/// All waiting is on the clock of tokio, so that it can be paused.
pub trait World: Send + Sync + 'static {
    /// A new connection of a device, on a network that works. What is left of its last one stays as it was.
    fn connect(&self, device: DeviceNo) -> impl Future<Output = anyhow::Result<Box<dyn Link>>> + Send;

    /// The network of a device fails.
    fn lose(&self, device: DeviceNo, how: Loss);

    /// The network of a device becomes slow, or fast again.
    fn delay(&self, device: DeviceNo, time: Duration);

    /// Ends the server without a word, before this returns.
    fn kill(&self);

    /// Asks the server to stop, and waits until it has.
    fn stop(&self) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Starts the server again on what it has stored, and waits until it can be reached.
    fn start(&self) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Moves the server's clock.
    fn step_clock(&self, seconds: i64) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Whether the server has died and come back by itself since this was last asked. Devices call again then, without
    /// being told to.
    fn has_come_back(&self) -> bool {
        false
    }

    /// From now on nothing fails by itself any more; the server is up when this returns.
    fn mend(&self) -> impl Future<Output = anyhow::Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}
