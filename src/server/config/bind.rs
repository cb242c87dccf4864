//! Binding the addresses of `[listen]`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Linux's EAFNOSUPPORT: a kernel without IPv6.
const NO_SUCH_FAMILY: i32 = 97;

/// Listens at `address`. Where a machine has no IPv6, `0.0.0.0` takes the place of `[::]`. The
/// listener is non-blocking, as tokio wants it.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).or_else(|error| match instead_of(address, &error) {
        Some(address) => TcpListener::bind(address),
        None => Err(error),
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The address to try after this error, if there is one.
fn instead_of(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let no_ipv6 = error.raw_os_error() == Some(NO_SUCH_FAMILY)
        || matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported);
    let any_ipv6 = address.is_ipv6() && address.ip().is_unspecified();
    (no_ipv6 && any_ipv6).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
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

    #[test]
    fn any_ipv6_falls_back_to_any_ipv4_where_there_is_no_ipv6() {
        let unsupported = io::Error::from_raw_os_error(NO_SUCH_FAMILY);
        let in_use = io::Error::from(io::ErrorKind::AddrInUse);
        for (address, error, want) in [
            ("[::]:5222", &unsupported, Some("0.0.0.0:5222")),
            ("[::1]:5222", &unsupported, None),
            ("0.0.0.0:5222", &unsupported, None),
            ("[::]:5222", &in_use, None),
        ] {
            let want = want.map(|want| want.parse().unwrap());
            assert_eq!(instead_of(address.parse().unwrap(), error), want, "{address} {error}");
        }
    }

    #[test]
    fn a_taken_port_is_refused_and_port_0_is_any() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = first.local_addr().unwrap();
        assert_ne!(taken.port(), 0);
        assert_eq!(bind(taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
