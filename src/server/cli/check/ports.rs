//! Whether the ports can be had.

use std::io;
use std::net::SocketAddr;

use super::Finding;
use crate::api::types::VersionInfo;
use crate::config::{Config, bind};

const CHECK: &str = "port";

/// One finding for each address that is to be listened at.
pub(super) fn check(config: &Config, running: Option<&VersionInfo>) -> Vec<Finding> {
    let listening = running.into_iter().flat_map(|server| &server.listen);
    let held: Vec<_> = listening.filter_map(|text| text.rsplit(' ').next()?.parse().ok()).collect();
    [
        ("listen.starttls", config.listen.starttls.as_slice()),
        ("listen.direct_tls", config.listen.direct_tls.as_slice()),
        ("metrics.listen", config.metrics.listen.as_slice()),
        ("admin.listen", config.admin.listen.as_slice()),
    ]
    .into_iter()
    .flat_map(|(key, addresses)| addresses.iter().map(move |address| (key, *address)))
    .map(|(key, address)| look(key, address, &held))
    .collect()
}

fn look(key: &str, address: SocketAddr, held: &[SocketAddr]) -> Finding {
    let Err(error) = bind(address) else {
        return Finding::ok(CHECK, format!("{address} ({key}) is free"));
    };
    let problem = match error.kind() {
        io::ErrorKind::AddrInUse if held.iter().any(|held| held.port() == address.port()) => {
            return Finding::ok(CHECK, format!("{address} ({key}) is held by the running server"));
        }
        io::ErrorKind::AddrInUse => {
            "is taken by another program: stop that, or choose another port".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "needs a privilege, as all ports below 1024: choose another, or grant CAP_NET_BIND_SERVICE"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "is no address of this machine".to_owned(),
        _ => format!("cannot be had: {error}"),
    };
    Finding::problem(CHECK, format!("{address} ({key}) {problem}"))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::super::Status;
    use super::*;

    #[test]
    fn the_running_server_says_what_it_holds() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        let mut config = Config::default();
        config.listen.starttls = vec![address];
        config.listen.direct_tls = Vec::new();
        config.metrics.listen = None;
        let running = VersionInfo {
            version: "0".to_owned(),
            started_at: String::new(),
            domains: Vec::new(),
            listen: vec!["direct_tls [::]:1".to_owned(), format!("starttls {address}")],
        };
        assert_eq!(check(&config, Some(&running))[0].status, Status::Ok);
        assert_eq!(check(&config, None)[0].status, Status::Problem);
    }

    #[test]
    fn a_port_is_free_ours_or_taken() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        let ours: SocketAddr = (std::net::Ipv6Addr::UNSPECIFIED, address.port()).into();
        for (address, held, status, detail) in [
            (
                address,
                vec![],
                Status::Problem,
                "is taken by another program: stop that, or choose another port",
            ),
            (address, vec![ours], Status::Ok, "is held by the running server"),
            ("127.0.0.1:0".parse().unwrap(), vec![], Status::Ok, "is free"),
            ("192.0.2.1:0".parse().unwrap(), vec![], Status::Problem, "is no address of this machine"),
        ] {
            let finding = look("listen.starttls", address, &held);
            let want = format!("{address} (listen.starttls) {detail}");
            assert_eq!((finding.status, finding.detail), (status, want));
        }
    }
}
