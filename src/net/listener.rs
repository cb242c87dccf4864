//! Accepting connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;

use crate::limits::Limits;
use crate::negotiation::Security;
use crate::server::C2s;

/// Connections that the system keeps for us while we are busy.
const BACKLOG: i32 = 1024;
/// How long to wait after a connection could not be accepted, for instance because all file descriptors are taken.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// How often TCP itself looks at a connection that is silent for as long as it may be before the server looks. It
/// finds those that nobody else looks at.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

impl C2s {
    /// Listens on `address` until [`C2s::stop`]. Port 0 lets the system choose; the answer is the real address.
    /// `[::]` takes IPv4 too, and becomes `0.0.0.0` on a machine without IPv6.
    pub fn listen(self: &Arc<Self>, address: SocketAddr, security: Security) -> io::Result<SocketAddr> {
        let limits = &self.terms.limits;
        let socket = match bind(address, limits) {
            Err(error) if address.ip().is_unspecified() && address.is_ipv6() && !is_of_the_port(&error) => {
                bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())), limits)?
            }
            result => result?,
        };
        let listener = TcpListener::from_std(socket.into())?;
        let local = listener.local_addr()?;
        tracing::info!(address = %local, ?security, "listening for clients");
        self.tasks.spawn(Arc::clone(self).accept(listener, security));
        Ok(local)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, security: Security) {
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    // Without it a stanza may wait for the acknowledgement of the one before. If it cannot be set,
                    // the connection is gone, and that shows when it is read.
                    let _set = stream.set_nodelay(true);
                    self.serve(stream, peer, security);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Once, not at every turn: the cause stays for a while.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "cannot accept connections");
                    }
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }
}

/// A listening socket. What is set here, accepted sockets inherit.
fn bind(address: SocketAddr, limits: &Limits) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // After a restart the port may still have connections of the run before.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    let keepalive = TcpKeepalive::new().with_time(limits.idle_after).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
    // RFC 5482. Without it, Linux goes on for a quarter of an hour, and whoever is at the other end of a dead network
    // looks present for so long.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limits.unacknowledged_within))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Errors that IPv4 would meet as well.
fn is_of_the_port(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

/// Errors of a connection that ended before it was accepted: the next one may be well.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
