//! A certificate for a server that has none yet.

use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};

use super::certificate::ascii_name;

/// How long a self-signed certificate is valid. Some clients refuse longer terms.
const TERM: Duration = Duration::from_secs(397 * 24 * 60 * 60);
/// Clocks of clients may be behind.
const EARLIER: Duration = Duration::from_secs(24 * 60 * 60);

/// A self-signed certificate and its key, both in PEM form.
pub struct SelfSigned {
    pub certificate_pem: String,
    /// Secret: to be stored readable for its owner only.
    pub key_pem: String,
}

/// Why a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SelfSignedError {
    #[error("there is no name to certify")]
    NoName,
    #[error("\"{0}\" is no name for a certificate")]
    Name(String),
    #[error(transparent)]
    Made(#[from] rcgen::Error),
}

/// Makes a key (ECDSA P-256) and a certificate for `names`: domains, wildcards, addresses. It is valid
/// from a day before `now` for thirteen months. Fails if there is no name, or one that a certificate cannot hold.
pub fn self_signed(names: &[String], now: SystemTime) -> Result<SelfSigned, SelfSignedError> {
    let names: Vec<String> = names.iter().map(|name| certified_name(name)).collect::<Result<_, _>>()?;
    let first = names.first().ok_or(SelfSignedError::NoName)?.clone();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, first);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = now.checked_sub(EARLIER).unwrap_or(now).into();
    params.not_after = now.checked_add(TERM).unwrap_or(now).into();
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(SelfSigned { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

fn certified_name(name: &str) -> Result<String, SelfSignedError> {
    let ascii = match name.strip_prefix("*.") {
        Some(rest) => ascii_name(rest).map(|rest| format!("*.{rest}")),
        None => ascii_name(name),
    };
    ascii.ok_or_else(|| SelfSignedError::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::{
        super::{TlsIdentity, Validity},
        *,
    };

    #[test]
    fn it_covers_its_names_for_its_term() {
        let now = SystemTime::now();
        let names = ["localhost", "m\u{fc}ller.example", "127.0.0.1", "::1"].map(str::to_owned);
        let made = self_signed(&names, now).unwrap();
        let identity =
            TlsIdentity::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes()).unwrap();
        for name in &names {
            assert!(identity.info().covers(name), "{name}");
        }
        let day = Duration::from_secs(24 * 60 * 60);
        for (moment, want) in [
            (now - 2 * day, Validity::NotYet),
            (now, Validity::Valid),
            (now + 396 * day, Validity::Valid),
            (now + 398 * day, Validity::Expired),
        ] {
            assert_eq!(identity.info().validity(moment), want);
        }
    }

    #[test]
    fn without_a_proper_name_there_is_none() {
        for names in
            [&[][..], &[""], &["example.org", ""], &["a..b"], &["caf\u{e9} bar"], &["*"], &["*."], &["a.*.b"]]
        {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            assert!(self_signed(&names, SystemTime::now()).is_err(), "{names:?}");
        }
    }
}
