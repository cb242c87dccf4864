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
    let arriving = Box::pin(arrival.run(io, security));
    match caught(arriving).await {
        Ok(Some(stream)) => stream.run().await,
        Ok(None) => {}
        Err(Panicked(message)) => {
            tracing::error!(connection = number, %peer, %message, "a connection has failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::arrival::Tls;
    use crate::stream::Stream;

    /// Bytes of the future that a function returns.
    fn size_of_future<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    /// What a stranger's task holds besides; TLS comes on top. A future that is moved into another has its room twice.
    #[test]
    fn a_connection_that_has_not_arrived_is_small() {
        let arriving = size_of_future(|(arrival, io, security): (Arrival, TcpStream, Security)| {
            arrival.run(io, security)
        });
        assert!(arriving <= 1280, "it has {arriving} bytes");
    }

    /// What a task holds while its stream is idle: the future, and the stream in its box. TLS and the session come on
    /// top. What is checked here is that nothing of the negotiation stays, and no buffer.
    #[test]
    fn an_idle_connection_is_small() {
        let future = size_of_future(|(c2s, registered, io, peer, security, place)| {
            serve::<TcpStream>(c2s, registered, io, peer, security, place)
        });
        assert!(future <= 512, "the task has {future} bytes");
        let stream = size_of::<Stream<Tls<TcpStream>>>();
        assert!(stream <= 640, "the stream has {stream} bytes");
    }
}
