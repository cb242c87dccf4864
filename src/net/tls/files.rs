//! Certificates in files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    certificate::{Validity, date},
    identity::{IdentityError, TlsIdentity},
};

/// Where the certificate of some domains is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertFiles {
    /// The domains for which it is served. It is served for all names in the certificate as well, where
    /// no other claims them.
    pub domains: Vec<String>,
    /// The chain in PEM form, the server's own certificate first.
    pub chain: PathBuf,
    /// The key in PEM form.
    pub key: PathBuf,
}

/// Why certificates cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot use {} with {}: {source}", chain.display(), key.display())]
    Identity { chain: PathBuf, key: PathBuf, source: IdentityError },
    #[error("certificate in {} is not valid before {since}", path.display())]
    NotYetValid { path: PathBuf, since: String },
    #[error("certificate in {} expired on {until}", path.display())]
    Expired { path: PathBuf, until: String },
    #[error("there is no certificate")]
    None,
}

/// By what a changed file is noticed: time of modification and size, of both files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp([Option<(SystemTime, u64)>; 2]);

impl CertFiles {
    /// Reads both files. The dates of the certificate are not looked at: see [`CertFiles::check_dates`]
    /// and [`TlsIdentity::info`].
    pub fn load(&self) -> Result<TlsIdentity, CertError> {
        TlsIdentity::from_pem(&read(&self.chain)?, &read(&self.key)?).map_err(|source| CertError::Identity {
            chain: self.chain.clone(),
            key: self.key.clone(),
            source,
        })
    }

    /// Fails if what these files gave is not valid at `now`.
    pub fn check_dates(&self, identity: &TlsIdentity, now: SystemTime) -> Result<(), CertError> {
        let info = identity.info();
        match info.validity(now) {
            Validity::Valid => Ok(()),
            Validity::NotYet => {
                Err(CertError::NotYetValid { path: self.chain.clone(), since: date(info.not_before) })
            }
            Validity::Expired => {
                Err(CertError::Expired { path: self.chain.clone(), until: date(info.not_after) })
            }
        }
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp([stamp(&self.chain), stamp(&self.key)])
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    fs::read(path).map_err(|source| CertError::Read { path: path.into(), source })
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
