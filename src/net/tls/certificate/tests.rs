#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm as Signature};

use super::*;

fn certificate(names: &[&str], signature: &'static Signature) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let key = KeyPair::generate_for(signature).unwrap();
    CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().to_vec()
}

#[test]
fn a_certificate_covers_the_names_that_it_has() {
    let names = ["example.org", "*.example.net", "xn--mller-kva.example", "127.0.0.1", "localhost"];
    let info = CertInfo::parse(&certificate(&names, &rcgen::PKCS_ECDSA_P256_SHA256)).unwrap();
    assert_eq!(info.names, names);
    assert!(info.is_self_signed);
    for (domain, want) in [
        ("example.org", true),
        ("EXAMPLE.org", true),
        ("example.org.", true),
        ("xmpp.example.net", true),
        ("m\u{fc}ller.example", true), // the ASCII form of an international name
        ("localhost", true),
        ("127.0.0.1", true),
        ("xmpp.example.org", false), // no wildcard there
        ("example.net", false),      // RFC 9525 §6.3: a wildcard is one label
        ("a.b.example.net", false),
        (".example.net", false),
        ("*.example.net.evil.org", false),
        ("example.org.evil.org", false),
        ("xample.org", false),
        ("127.0.0.2", false),
        ("::1", false),
        ("", false),
        (".", false),
    ] {
        assert_eq!(info.covers(domain), want, "{domain}");
    }
}

#[test]
fn a_wildcard_for_a_whole_top_level_domain_is_not_honoured() {
    let info = CertInfo::parse(&certificate(&["*.org"], &rcgen::PKCS_ECDSA_P256_SHA256)).unwrap();
    assert!(!info.covers("example.org"));
}

#[test]
fn dates_decide_validity() {
    let mut info = CertInfo::parse(&certificate(&["a.org"], &rcgen::PKCS_ECDSA_P256_SHA256)).unwrap();
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let end = start + Duration::from_secs(1000);
    (info.not_before, info.not_after) = (start, end);
    let second = Duration::from_secs(1);
    for (now, want) in [
        (start - second, Validity::NotYet),
        (start, Validity::Valid), // RFC 5280 §4.1.2.5: both ends belong to the period
        (end, Validity::Valid),
        (end + second, Validity::Expired),
    ] {
        assert_eq!(info.validity(now), want);
    }
    assert_eq!(date(start), "Jan 12 13:46:40 1970 +00:00");
}

/// ECDSA with SHA-1, made with OpenSSL like the two below.
const ECDSA_SHA1: &str = "\
    MIIBazCCARKgAwIBAgIUQ6Mtmgu5GbEa3x4HZ/wPx6zpYe4wCQYHKoZIzj0EATAMMQowCAYDVQQDDAFhMB4XDTI2MTEyMjAx\
    NDc0NloXDTI2MTEyMzAxNDc0NlowDDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLVK6tzpwXIr0CBd\
    rrO77zf4UCGDGgAyZ5XdqiW1fXMoTjMjZT7Q3b0Zf6scU3+blnpe0PDf5SoIS2PBJh6pcVOjUzBRMB0GA1UdDgQWBBTv2h1q\
    JG+m06bG02xce2gieJPQHDAfBgNVHSMEGDAWgBTv2h1qJG+m06bG02xce2gieJPQHDAPBgNVHRMBAf8EBTADAQH/MAkGByqG\
    SM49BAEDSAAwRQIgfsEaMqVZr2aPFuYe/GbhA1NufCLrmoCo+6MbfFV3fhICIQCRH7VZxhil/EAR5Tsuht/xQ5nqLmF6wSJO\
    ZdovqZq7bQ==";
/// ECDSA with SHA-224.
const ECDSA_SHA224: &str = "\
    MIIBbTCCAROgAwIBAgIUYsXIinTR5iN1vJtkZH4B32HYntUwCgYIKoZIzj0EAwEwDDEKMAgGA1UEAwwBYTAeFw0yNjExMjIw\
    MTQ3NDZaFw0yNjExMjMwMTQ3NDZaMAwxCjAIBgNVBAMMAWEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS1Surc6cFyK9Ag\
    Xa6zu+83+FAhgxoAMmeV3aoltX1zKE4zI2U+0N29GX+rHFN/m5Z6XtDw3+UqCEtjwSYeqXFTo1MwUTAdBgNVHQ4EFgQU79od\
    aiRvptOmxtNsXHtoIniT0BwwHwYDVR0jBBgwFoAU79odaiRvptOmxtNsXHtoIniT0BwwDwYDVR0TAQH/BAUwAwEB/zAKBggq\
    hkjOPQQDAQNIADBFAiEA9RlbNDJwDGIIXDETZpDuu1p/fbc/KX1AGfTIND0IV4ACIGiQowZkfF0kCpnXR1/4e3Wo2cegJupn\
    o6oNrzESsViu";
/// RSASSA-PSS with SHA-384, which stands in the parameters of the algorithm.
const PSS_SHA384: &str = "\
    MIICUjCCAYygAwIBAgIUe+Dn4EibgIW+PW2NuBSi6KsE5bMwPAYJKoZIhvcNAQEKMC+gDzANBglghkgBZQMEAgIFAKEcMBoG\
    CSqGSIb3DQEBCDANBglghkgBZQMEAgIFADAMMQowCAYDVQQDDAFhMB4XDTI2MTEyMjAxNDc0NloXDTI2MTEyMzAxNDc0Nlow\
    DDEKMAgGA1UEAwwBYTCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEApkXJJ4cFvSG8rl2LCuZ8ppov3GSmJBgXQg2U9uCl\
    egg1/TcKvN+2EEgEHb+VbAsPPtqqiUUjpCcZ/AmDG+GQ909WjJUDBeILSEeaUk2LBl+aIgl7EqyYUt52QXaBbxXMbkdWRrvg\
    CJRLu9YTORv5fJDFnKkNQOzjyRkash9JoXECAwEAAaNTMFEwHQYDVR0OBBYEFJFa+RmsyZXZ7qf8qCvJQA689tSRMB8GA1Ud\
    IwQYMBaAFJFa+RmsyZXZ7qf8qCvJQA689tSRMA8GA1UdEwEB/wQFMAMBAf8wPAYJKoZIhvcNAQEKMC+gDzANBglghkgBZQME\
    AgIFAKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgIFAAOBgQB+DtyrCSXUuxXHbH7rD0gZfjrkIgPQJhmXdjd2L16wWaoP\
    4W2uDiEvb7thJs1f1HL1t5Gb8XXS8s6XsxnrzTD+Lpw2vRNdRin2Ad93X+yQsnTSG6ZE9l8cxwOsI2K3V/IOZOg0EaV7k+De\
    PHbtLwY0DE6bzy1BYm9dArE7r5lHeg==";

/// RFC 5929 §4.1, for each kind of signature that can be made here.
#[test]
fn the_end_point_is_hashed_as_the_signature_was() {
    for (signature, algorithm) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, &digest::SHA256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, &digest::SHA384),
        (&rcgen::PKCS_ECDSA_P521_SHA512, &digest::SHA512),
        (&rcgen::PKCS_RSA_SHA256, &digest::SHA256),
        (&rcgen::PKCS_RSA_SHA384, &digest::SHA384),
        (&rcgen::PKCS_RSA_SHA512, &digest::SHA512),
        (&rcgen::PKCS_ED25519, &digest::SHA256), // undefined in the RFC
    ] {
        let der = certificate(&["example.org"], signature);
        let want = digest::digest(algorithm, &der);
        assert_eq!(tls_server_end_point(&der), want.as_ref(), "{signature:?}");
    }
    for (certificate, algorithm) in [
        (ECDSA_SHA1, &digest::SHA256), // SHA-1 gives way to SHA-256
        (ECDSA_SHA224, &digest::SHA224),
        (PSS_SHA384, &digest::SHA384),
    ] {
        let der = STANDARD.decode(certificate).unwrap();
        assert_eq!(tls_server_end_point(&der), digest::digest(algorithm, &der).as_ref());
    }
    assert_eq!(tls_server_end_point(b"junk"), digest::digest(&digest::SHA256, b"junk").as_ref());
}

#[test]
fn junk_is_no_certificate() {
    for der in [&b""[..], b"junk", &[0x30, 0x03, 0x02, 0x01, 0x00]] {
        assert!(matches!(CertInfo::parse(der), Err(IdentityError::Certificate(_))));
    }
}
