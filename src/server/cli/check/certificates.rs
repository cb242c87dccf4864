//! Whether clients will accept the certificates.

use std::time::{Duration, SystemTime};

use unisono_core::datetime::format_utc;
use unisono_net::tls::{CertFiles, CertInfo, Validity};

use super::Finding;
use crate::config::{Config, Domain};
use crate::tls_default::certified_name;

const CHECK: &str = "certificate";
/// Certificates are renewed a month before they end: one that ends sooner was forgotten.
const RENEWAL: Duration = Duration::from_secs(14 * 86_400);

/// At least one finding for each certificate.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let domains = &config.server.domains;
    if config.tls.certificate.is_empty() {
        return vec![own(config)];
    }
    let now = SystemTime::now();
    let mut findings = Vec::new();
    for certificate in &config.tls.certificate {
        let served = domains.iter().filter(|domain| certificate.is_for(domain)).map(certified_name).collect();
        let files =
            CertFiles { domains: served, chain: certificate.cert.clone(), key: certificate.key.clone() };
        match files.load() {
            Ok(identity) => findings.extend(judge(&files, identity.info(), now)),
            Err(error) => findings.push(Finding::problem(CHECK, error.to_string())),
        }
    }
    findings
}

fn own(config: &Config) -> Finding {
    let directory = config.own_tls_dir();
    let detail = format!("none is configured: the server makes its own in {}", directory.display());
    if config.server.domains.iter().map(Domain::as_str).all(|domain| domain == "localhost") {
        Finding::ok(CHECK, detail)
    } else {
        Finding::warning(CHECK, format!("{detail}; clients ask whether to trust it"))
    }
}

fn judge(files: &CertFiles, info: &CertInfo, now: SystemTime) -> Vec<Finding> {
    let (cert, end) = (files.chain.display(), date(info.not_after));
    let uncovered = files.domains.iter().filter(|domain| !info.covers(domain));
    let names = info.names.join(", ");
    let mut findings: Vec<_> = uncovered
        .map(|domain| Finding::problem(CHECK, format!("{cert} is not for {domain}, only for {names}")))
        .collect();
    match info.validity(now) {
        Validity::NotYet => {
            let start = date(info.not_before);
            findings.push(Finding::problem(CHECK, format!("{cert} is not valid before {start}")));
        }
        Validity::Expired => {
            findings.push(Finding::problem(CHECK, format!("{cert} ended at {end}: renew it")));
        }
        Validity::Valid if now.checked_add(RENEWAL).is_none_or(|then| then > info.not_after) => {
            findings.push(Finding::warning(CHECK, format!("{cert} ends at {end}: renew it")));
        }
        Validity::Valid => {}
    }
    if info.is_self_signed {
        findings
            .push(Finding::warning(CHECK, format!("{cert} is self-signed: clients ask whether to trust it")));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, format!("{cert}, valid until {end}")));
    }
    findings
}

fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let micros = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    format_utc(micros).replace(".000000Z", "Z")
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use unisono_net::tls::self_signed;

    use super::super::Status;
    use super::*;
    use crate::config::Certificate;

    #[test]
    fn each_fault_of_a_certificate_is_told() {
        const DAY: u64 = 86_400;
        let start = 1_800_000_000;
        let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let domains = ["example.org", "bücher.example"].map(str::to_owned).to_vec();
        let files = CertFiles { domains, chain: "c.pem".into(), key: "k.pem".into() };
        let info = |names: &[&str], is_self_signed| CertInfo {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            not_before: time(start),
            not_after: time(start + 90 * DAY),
            issuer: "an authority".to_owned(),
            is_self_signed,
        };
        let both = ["example.org", "xn--bcher-kva.example"];
        for (info, day, want) in [
            (info(&both, false), 60, vec![(Status::Ok, "c.pem, valid until 2027-04-15T08:00:00Z")]),
            (info(&both, false), 77, vec![(Status::Warning, "c.pem ends at 2027-04-15T08:00:00Z: renew it")]),
            (
                info(&["*.org", "*.example"], false),
                91,
                vec![
                    (Status::Problem, "c.pem is not for example.org, only for *.org, *.example"),
                    (Status::Problem, "c.pem is not for bücher.example, only for *.org, *.example"),
                    (Status::Problem, "c.pem ended at 2027-04-15T08:00:00Z: renew it"),
                ],
            ),
            (
                info(&both, true),
                60,
                vec![(Status::Warning, "c.pem is self-signed: clients ask whether to trust it")],
            ),
        ] {
            let findings = judge(&files, &info, time(start + day * DAY));
            let got: Vec<_> = findings.iter().map(|f| (f.status, f.detail.as_str())).collect();
            assert_eq!(got, want);
        }
        let early = judge(&files, &info(&both, false), time(start - 1));
        assert_eq!(early[0].detail, "c.pem is not valid before 2027-01-15T08:00:00Z");
    }

    #[test]
    fn the_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b"] {
            let pair = self_signed(&["localhost".to_owned()], SystemTime::now()).unwrap();
            std::fs::write(path(&format!("{name}.pem")), pair.certificate_pem).unwrap();
            std::fs::write(path(&format!("{name}.key")), pair.key_pem).unwrap();
        }
        let mut config = Config::default();
        assert_eq!(check(&config)[0].status, Status::Ok);
        for (cert, key, status, detail) in [
            ("a.pem", "a.key", Status::Warning, "is self-signed"),
            ("a.pem", "b.key", Status::Problem, "the private key is not that of the first certificate"),
            ("none", "a.key", Status::Problem, "cannot read"),
        ] {
            let certificate = Certificate { cert: path(cert), key: path(key), ..Certificate::default() };
            config.tls.certificate = vec![certificate];
            let findings = check(&config);
            assert_eq!((findings.len(), findings[0].status), (1, status), "{findings:?}");
            assert!(findings[0].detail.contains(detail), "{findings:?}");
        }
    }
}
