//! The certificates to serve: those that are configured, or one that the server makes itself, enough for
//! a first conversation at once. That one is kept in `data_dir/tls`, so that clients that trust it once
//! can go on trusting it, and made anew when the domains change or its end is near.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use unisono_net::tls::{CertFiles, CertInfo, SelfSignedError, TlsIdentity, self_signed};

use crate::config::{Config, Domain};

const CERT_FILE: &str = "self-signed.pem";
const KEY_FILE: &str = "self-signed.key";
/// A certificate that ends sooner is made anew.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// Why a certificate was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There was none.
    #[error("there was none")]
    Missing,
    /// It was for other domains.
    #[error("the domains have changed")]
    DomainsChanged,
    /// It had ended, or was about to.
    #[error("the old one ends soon")]
    Expiring,
    /// The files cannot be read, or do not belong together.
    #[error("the old one is damaged")]
    Damaged,
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum OwnCertificateError {
    /// A file cannot be written.
    #[error("cannot write {}: {error}", .path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is a domain that no certificate can name.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] SelfSignedError),
}

/// The certificates to serve, and why one was made just now, if one was. While the server runs, [`renew`] sees to it
/// that the one of our own does not end.
pub fn certificates(
    config: &Config,
    now: SystemTime,
) -> Result<(Vec<CertFiles>, Option<Reason>), OwnCertificateError> {
    let domains = &config.server.domains;
    if config.tls.certificate.is_empty() {
        let (own, made) = own_certificate(&config.own_tls_dir(), domains, now)?;
        return Ok((vec![own], made));
    }
    let configured = config.tls.certificate.iter().map(|certificate| {
        let domains =
            domains.iter().filter(|domain| certificate.is_for(domain)).map(certified_name).collect();
        CertFiles { domains, chain: certificate.cert.clone(), key: certificate.key.clone() }
    });
    Ok((configured.collect(), None))
}

/// Makes the server's own certificate anew if its end is near; whether it did. What else may be wrong with the files
/// is left alone: somebody may be at work there, and the server goes on with what it has read.
pub fn renew(config: &Config, now: SystemTime) -> Result<bool, OwnCertificateError> {
    if !config.tls.certificate.is_empty() {
        return Ok(false);
    }
    let directory = config.own_tls_dir();
    let files = own_files(&directory, &config.server.domains);
    let is_due = reason_to_make(&files, now) == Some(Reason::Expiring);
    if is_due {
        make(&directory, &files, now)?;
    }
    Ok(is_due)
}

/// The certificate for `domains` in `directory`, made if there is none that serves.
fn own_certificate(
    directory: &Path,
    domains: &[Domain],
    now: SystemTime,
) -> Result<(CertFiles, Option<Reason>), OwnCertificateError> {
    let files = own_files(directory, domains);
    let made = reason_to_make(&files, now);
    if made.is_some() {
        make(directory, &files, now)?;
    }
    Ok((files, made))
}

fn own_files(directory: &Path, domains: &[Domain]) -> CertFiles {
    let domains = domains.iter().map(certified_name).collect();
    CertFiles { domains, chain: directory.join(CERT_FILE), key: directory.join(KEY_FILE) }
}

fn make(directory: &Path, files: &CertFiles, now: SystemTime) -> Result<(), OwnCertificateError> {
    let pair = self_signed(&files.domains, now)?;
    let cannot = |error| OwnCertificateError::Write { path: directory.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(cannot)?;
    // A crash between the two leaves a pair that does not match, which is made anew at the next start.
    write(&files.key, &pair.key_pem, 0o600)?;
    write(&files.chain, &pair.certificate_pem, 0o644)
}

/// Why the files cannot be used, if they cannot.
fn reason_to_make(files: &CertFiles, now: SystemTime) -> Option<Reason> {
    if !files.chain.exists() && !files.key.exists() {
        return Some(Reason::Missing);
    }
    match files.load().as_ref().map(TlsIdentity::info) {
        Err(_) => Some(Reason::Damaged),
        Ok(info) if !is_for_exactly(info, &files.domains) => Some(Reason::DomainsChanged),
        Ok(info) if now.checked_add(RENEW_BEFORE).is_none_or(|then| then >= info.not_after) => {
            Some(Reason::Expiring)
        }
        Ok(_) => None,
    }
}

fn is_for_exactly(info: &CertInfo, domains: &[String]) -> bool {
    let names: BTreeSet<_> = info.names.iter().collect();
    names.len() == domains.len() && domains.iter().all(|domain| info.covers(domain))
}

/// A domain as a certificate names it: an address literal (RFC 7622 §3.2) without its brackets.
pub(crate) fn certified_name(domain: &Domain) -> String {
    domain.as_str().trim_matches(['[', ']']).to_owned()
}

/// Writes a file of this mode as a whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), OwnCertificateError> {
    let new = path.with_extension("new");
    let attempt = || {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    attempt().map_err(|error| OwnCertificateError::Write { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use std::os::unix::fs::PermissionsExt;

    use unisono_net::tls::CertStore;

    use super::*;
    use crate::config::Certificate;

    const DAY: Duration = Duration::from_secs(86_400);

    type Spoil = fn(&CertFiles);

    fn domains(names: &[&str]) -> Vec<Domain> {
        names.iter().map(|name| Domain::new(name).unwrap()).collect()
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    #[test]
    fn it_is_made_once_and_its_key_is_for_the_server_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.data_dir = folder.path().join("data");
        config.server.domains = domains(&["localhost", "bücher.example", "[::1]", "127.0.0.1"]);
        let (first, made) = certificates(&config, now()).unwrap();
        assert_eq!(made, Some(Reason::Missing));
        let files = &first[0];
        let rights = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((rights(&files.key), rights(&folder.path().join("data/tls"))), (0o600, 0o700));
        let identity = files.load().unwrap();
        assert_eq!(identity.info().names, ["localhost", "xn--bcher-kva.example", "::1", "127.0.0.1"]);
        let contents = || (fs::read(&files.chain).unwrap(), fs::read(&files.key).unwrap());
        let before = contents();
        assert_eq!(certificates(&config, now() + 300 * DAY).unwrap(), (first.clone(), None));
        assert_eq!(contents(), before);
    }

    #[test]
    fn it_is_made_anew_when_it_no_longer_serves() {
        let folder = tempfile::tempdir().unwrap();
        let foreign: Spoil = |files| {
            let pair = self_signed(&files.domains, now()).unwrap();
            fs::write(&files.key, pair.key_pem).unwrap();
        };
        let cases: [(&str, Spoil, &[&str], Duration, Reason); 8] = [
            ("more", |_| {}, &["a.example", "b.example"], DAY, Reason::DomainsChanged),
            ("fewer", |_| {}, &["a.example"], DAY, Reason::DomainsChanged),
            ("other", |_| {}, &["a.example", "d.example"], DAY, Reason::DomainsChanged),
            ("late", |_| {}, &["a.example", "c.example"], 380 * DAY, Reason::Expiring),
            ("ended", |_| {}, &["a.example", "c.example"], 800 * DAY, Reason::Expiring),
            (
                "half",
                |files| fs::remove_file(&files.key).unwrap(),
                &["a.example", "c.example"],
                DAY,
                Reason::Damaged,
            ),
            (
                "cut",
                |files| fs::write(&files.chain, "-----BEGIN").unwrap(),
                &["a.example", "c.example"],
                DAY,
                Reason::Damaged,
            ),
            ("foreign key", foreign, &["a.example", "c.example"], DAY, Reason::Damaged),
        ];
        for (name, spoil, names, later, want) in cases {
            let directory = folder.path().join(name);
            let (files, _) =
                own_certificate(&directory, &domains(&["a.example", "c.example"]), now()).unwrap();
            spoil(&files);
            let names = domains(names);
            assert_eq!(own_certificate(&directory, &names, now() + later).unwrap().1, Some(want), "{name}");
            assert_eq!(own_certificate(&directory, &names, now() + later).unwrap().1, None, "{name}");
        }
    }

    #[test]
    fn a_running_server_renews_it_before_it_ends_and_touches_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.data_dir = folder.path().join("data");
        config.server.domains = domains(&["a.example"]);
        let (files, _) = certificates(&config, now()).unwrap();
        let store = CertStore::load(files.clone(), now()).unwrap();
        let first = store.next_expiry().unwrap();
        assert!(!renew(&config, now() + 300 * DAY).unwrap());
        let late = now() + 370 * DAY; // 27 days are left
        assert!(renew(&config, late).unwrap());
        assert_eq!(store.reload_if_changed(late).replaced, 1);
        assert!(store.next_expiry().unwrap() > first + 300 * DAY);
        assert!(!renew(&config, late).unwrap());

        fs::write(&files[0].key, "half").unwrap();
        assert!(!renew(&config, late + 390 * DAY).unwrap());
        assert_eq!(fs::read(&files[0].key).unwrap(), b"half");
        fs::remove_file(&files[0].key).unwrap();
        fs::remove_file(&files[0].chain).unwrap();
        assert!(!renew(&config, late + 390 * DAY).unwrap());
        config.tls.certificate = vec![Certificate::default()];
        assert!(!renew(&config, late + 800 * DAY).unwrap());
    }

    #[test]
    fn configured_certificates_are_served_instead() {
        let mut config = Config::default();
        config.server.domains = domains(&["a.example", "b.example"]);
        let certificate = |name: &str, domains| Certificate { domains, cert: name.into(), key: "key".into() };
        for (configured, want) in [
            (vec![certificate("all", vec![])], vec![("all", vec!["a.example", "b.example"])]),
            (
                vec![certificate("b", domains(&["b.example"])), certificate("a", domains(&["a.example"]))],
                vec![("b", vec!["b.example"]), ("a", vec!["a.example"])],
            ),
        ] {
            config.tls.certificate = configured;
            let (files, made) = certificates(&config, now()).unwrap();
            assert_eq!(made, None);
            let got: Vec<_> = files.into_iter().map(|files| (files.chain, files.domains)).collect();
            let want: Vec<_> = want
                .into_iter()
                .map(|(chain, domains)| {
                    (PathBuf::from(chain), domains.into_iter().map(str::to_owned).collect())
                })
                .collect();
            assert_eq!(got, want);
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = own_certificate(&file.join("tls"), &domains(&["a.example"]), now()).unwrap_err();
        let want = format!("cannot write {}/tls: ", file.display());
        assert!(error.to_string().starts_with(&want), "{error}");
    }
}
