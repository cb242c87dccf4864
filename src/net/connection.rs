//! The task of one connection.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::admission::Place;
use crate::arrival::Arrival;
use crate::negotiation::Security;
use crate::panic::{Panicked, caught};
use crate::server::{C2s, Registered};

/// Serves a connection from its first byte to its last.
pub(crate) async fn serve<IO>(
    c2s: Arc<C2s>,
    registered: Registered,
    io: IO,
    peer: SocketAddr,
    security: Security,
    place: Place,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let number = registered.number();
    // What negotiation needs is in a box that goes when it is done: a stream that is idle should be small.
    let arrival = Arrival::new(c2s, registered, peer, place);
    let arriving = Box::pin(caught(arrival.run(io, security)));
    match arriving.await {
        Ok(Some(stream)) => stream.run().await,
        Ok(None) => {}
        Err(Panicked(message)) => {
            tracing::error!(connection = number, %peer, %message, "a connection has failed");
        }
    }
}
