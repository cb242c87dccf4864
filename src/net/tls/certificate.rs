//! What a certificate says.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use x509_parser::{
    certificate::X509Certificate, error::X509Error, extensions::GeneralName, prelude::FromDer as _,
    signature_algorithm::SignatureAlgorithm, time::ASN1Time, x509::AlgorithmIdentifier,
};

use super::identity::IdentityError;

/// The facts of a certificate that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertInfo {
    /// The names for which it stands: subjectAltName only, DNS names in lower case and addresses as they
    /// are written. The subject's common name does not count (RFC 9525 §2).
    pub names: Vec<String>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// Who signed it, for people.
    pub issuer: String,
    /// Whether it is signed by its own subject: no client trusts it unasked.
    pub is_self_signed: bool,
}

/// Where a moment lies relative to a certificate's dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    NotYet,
    Valid,
    Expired,
}

impl CertInfo {
    pub(super) fn parse(der: &[u8]) -> Result<Self, IdentityError> {
        let broken = |error: &dyn std::fmt::Display| IdentityError::Certificate(error.to_string());
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| broken(&error))?;
        let alternatives = certificate.subject_alternative_name().map_err(|error| broken(&error))?;
        let names = alternatives.map(|names| names.value.general_names.iter().filter_map(name).collect());
        Ok(Self {
            names: names.unwrap_or_default(),
            not_before: moment(certificate.validity().not_before),
            not_after: moment(certificate.validity().not_after),
            issuer: certificate.issuer().to_string(),
            is_self_signed: certificate.issuer().as_raw() == certificate.subject().as_raw(),
        })
    }

    /// Whether it stands for `domain` (RFC 9525 §6.3): a wildcard stands for one whole leftmost label.
    /// International names are compared in their ASCII form.
    pub fn covers(&self, domain: &str) -> bool {
        let Some(domain) = ascii_name(domain) else { return false };
        let wildcard = wildcard_for(&domain);
        self.names.iter().any(|name| *name == domain || Some(name) == wildcard.as_ref())
    }

    pub fn validity(&self, now: SystemTime) -> Validity {
        if now < self.not_before {
            Validity::NotYet
        } else if now > self.not_after {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }
}

/// A domain as certificates and SNI write it: ASCII, lower case, no dot at the end; or an address.
/// Underscores pass: names inside a container network have them.
pub(super) fn ascii_name(domain: &str) -> Option<String> {
    if let Ok(address) = domain.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let ascii = idna::domain_to_ascii(domain.strip_suffix('.').unwrap_or(domain)).ok()?;
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    ascii.split('.').all(|label| !label.is_empty() && label.bytes().all(is_letter)).then_some(ascii)
}

/// The wildcard name that would stand for `name`, `*.example.org` for `xmpp.example.org`.
pub(super) fn wildcard_for(name: &str) -> Option<String> {
    let (label, rest) = name.split_once('.')?;
    let is_address = name.parse::<IpAddr>().is_ok();
    (!label.is_empty() && rest.contains('.') && !is_address).then(|| format!("*.{rest}"))
}

/// A moment for people.
pub(super) fn date(moment: SystemTime) -> String {
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    match i64::try_from(seconds).ok().and_then(|seconds| ASN1Time::from_timestamp(seconds).ok()) {
        Some(time) => time.to_string(),
        None => format!("{seconds} s after 1970"),
    }
}

/// `tls-server-end-point` (RFC 5929 §4.1): the hash of the certificate, with the hash function of its
/// signature; SHA-256 in the place of MD5 and SHA-1. For signatures without one hash function, such as
/// Ed25519, the RFC leaves the type undefined; SHA-256 is what other implementations use there.
pub fn tls_server_end_point(der: &[u8]) -> Vec<u8> {
    let algorithm = match X509Certificate::from_der(der) {
        Ok((_, certificate)) => signature_hash(&certificate.signature_algorithm),
        Err(_) => &digest::SHA256,
    };
    digest::digest(algorithm, der).as_ref().to_vec()
}

fn signature_hash(signature: &AlgorithmIdentifier<'_>) -> &'static digest::Algorithm {
    let pss: Result<SignatureAlgorithm<'_>, X509Error> = signature.try_into();
    let oid = match &pss {
        // RFC 4055 §3.1: the hash stands in the parameters.
        Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) => parameters.hash_algorithm_oid(),
        _ => &signature.algorithm,
    };
    match oid.to_id_string().as_str() {
        // RSA (RFC 8017 appendix C), ECDSA (RFC 5758 §3.2), DSA (§3.1), and the hash itself (for PSS).
        "1.2.840.113549.1.1.14"
        | "1.2.840.10045.4.3.1"
        | "2.16.840.1.101.3.4.3.1"
        | "2.16.840.1.101.3.4.2.4" => &digest::SHA224,
        "1.2.840.113549.1.1.12"
        | "1.2.840.10045.4.3.3"
        | "2.16.840.1.101.3.4.3.3"
        | "2.16.840.1.101.3.4.2.2" => &digest::SHA384,
        "1.2.840.113549.1.1.13"
        | "1.2.840.10045.4.3.4"
        | "2.16.840.1.101.3.4.3.4"
        | "2.16.840.1.101.3.4.2.3" => &digest::SHA512,
        "1.2.840.113549.1.1.16" | "2.16.840.1.101.3.4.2.6" => &digest::SHA512_256,
        // SHA-256 itself, MD5, SHA-1, and what has no hash function.
        _ => &digest::SHA256,
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        _ => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
    }
}

/// Dates before 1970 count as 1970.
fn moment(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
