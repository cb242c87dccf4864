//! A certificate and its key, ready to serve.

use std::{fmt, sync::Arc};

use rustls::{InconsistentKeys, ServerConfig, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};

use super::{
    certificate::{CertInfo, tls_server_end_point},
    config,
};

/// A chain of certificates, the key of the first, and all that follows from them. Its sessions are
/// resumed with itself only: its tickets are sealed with keys of its own, so that a resumed session is
/// known to have been authenticated with this very certificate, and ends with it.
pub struct TlsIdentity {
    chain: Vec<CertificateDer<'static>>,
    info: CertInfo,
    end_point: Arc<[u8]>,
    config: Arc<ServerConfig>,
}

/// Why a certificate or its key cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IdentityError {
    #[error("there is no certificate in PEM form")]
    NoCertificate,
    #[error("there is no private key in PEM form")]
    NoKey,
    #[error("the PEM form is broken: {0}")]
    Pem(String),
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    #[error("the private key is not that of the first certificate")]
    KeyMismatch,
    #[error("TLS cannot use it: {0}")]
    Unusable(rustls::Error),
}

impl TlsIdentity {
    /// From the chain (the server's own certificate first) and the key (PKCS #8, PKCS #1 or SEC 1), both
    /// in PEM form. They may stand in one text. Dates are not looked at.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| broken(&error))?;
        let leaf = chain.first().ok_or(IdentityError::NoCertificate)?;
        let info = CertInfo::parse(leaf)?;
        let end_point = tls_server_end_point(leaf).into();
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => IdentityError::NoKey,
            error => broken(&error),
        })?;
        let certified = CertifiedKey::from_der(chain.clone(), key, &config::provider()).map_err(unusable)?;
        let config = config::server_config(certified).map_err(unusable)?;
        Ok(Self { chain, info, end_point, config: Arc::new(config) })
    }

    /// The facts of the server's own certificate.
    pub fn info(&self) -> &CertInfo {
        &self.info
    }

    /// The chain as it is sent, the server's own certificate first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The data of the channel binding `tls-server-end-point`.
    pub fn end_point(&self) -> &Arc<[u8]> {
        &self.end_point
    }

    /// The configuration that serves this identity and no other.
    pub fn server_config(&self) -> &Arc<ServerConfig> {
        &self.config
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").field("info", &self.info).finish_non_exhaustive()
    }
}

fn broken(error: &pem::Error) -> IdentityError {
    IdentityError::Pem(error.to_string())
}

fn unusable(error: rustls::Error) -> IdentityError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => IdentityError::KeyMismatch,
        error => IdentityError::Unusable(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::time::SystemTime;

    use super::{super::self_signed, *};

    fn pem(name: &str) -> (String, String) {
        let made = self_signed(&[name.to_owned()], SystemTime::now()).unwrap();
        (made.certificate_pem, made.key_pem)
    }

    #[test]
    fn chain_and_key_are_read_from_two_texts_or_one() {
        let (certificate, key) = pem("example.org");
        let one = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let both = format!("{key}\n{certificate}");
        let two = TlsIdentity::from_pem(both.as_bytes(), both.as_bytes()).unwrap();
        assert_eq!(one.info(), two.info());
        assert_eq!(one.info().names, ["example.org"]);
        assert_eq!(one.chain().len(), 1);
        assert_eq!(**one.end_point(), *tls_server_end_point(&one.chain()[0]));
        assert!(!format!("{one:?}").to_lowercase().contains("key"));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let (certificate, key) = pem("example.org");
        let (other_certificate, other_key) = pem("example.org");
        let wrong_order = other_certificate.clone() + &certificate;
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let open = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        let unreadable_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (chain, key, want) in [
            ("", key.as_str(), "no certificate"),
            (key.as_str(), &key, "no certificate"),
            (&certificate, "", "no private key"),
            (&certificate, &certificate, "no private key"),
            (&certificate, &other_key, "not that of the first"),
            (&wrong_order, &key, "not that of the first"),
            (junk, &key, "cannot be read"),
            (open, &key, "PEM form is broken"),
            (&certificate, unreadable_key, "TLS cannot use it"),
        ] {
            let error = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(want), "{error} is not about: {want}");
        }
    }
}
