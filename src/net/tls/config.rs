//! How this server speaks TLS.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

/// The protocol of client streams in ALPN (XEP-0368 §3). A client that names others only is refused: it
/// meant another service, or was led here (RFC 7301 §3.2).
pub const ALPN_XMPP_CLIENT: &[u8] = b"xmpp-client";

/// Algorithms: those of rustls with aws-lc-rs, X25519MLKEM768 first.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A configuration for one identity. Connections keep no state in the server: sessions resume from
/// tickets alone. There is no early data, which could be replayed.
pub(super) fn server_config(certified: CertifiedKey) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ALPN_XMPP_CLIENT.to_vec()];
    // RFC 7677 §4: without it, channel bindings of TLS 1.2 can be forged.
    config.require_ems = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // A client resumes one stream with a ticket and gets a new one then; more only cost memory and CPU.
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(config)
}
