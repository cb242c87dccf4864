//! The client's side, for tests and for probing this server from outside.

use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{
    CertificateDer,
    pem::{self, PemObject as _},
};

use super::config::{ALPN_XMPP_CLIENT, provider};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ClientConfigError {
    #[error("the PEM form is broken: {0}")]
    Pem(#[from] pem::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// A client that trusts the certificates in `roots_pem` and no others, speaks `versions` and names
/// `xmpp-client` in ALPN, as for direct TLS (XEP-0368 §3).
pub fn client_config(
    roots_pem: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConfig, ClientConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(roots_pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_XMPP_CLIENT.to_vec()];
    Ok(config)
}
