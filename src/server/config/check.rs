//! What the keys say together, and the ranges of numbers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::keys::Config;
use super::load::Places;
use super::problem::Problem;
use super::setting::Text;
use super::store_url::StoreUrl;
use super::units::Size;

/// RFC 6120 §13.12: a server must accept stanzas of this size.
const STANZA_BYTES_MIN: Size = Size::bytes(10_000);
/// A stanza is held in memory as a whole, and stored as one value. Written, it has up to twice the bytes that it came in
/// (`unisono_xml::Limits::WRITTEN_FACTOR`), and some more for prefixes; SQLite stores values of up to 10^9.
const STANZA_BYTES_MAX: Size = Size::kib(64 * 1024);

/// With less, a stanza that is as large as it must be allowed to be would take more than a second.
const BYTES_PER_SECOND_MIN: Size = STANZA_BYTES_MIN;

/// All problems that need no look at the machine.
pub(crate) fn problems(config: &Config, places: &Places) -> Vec<Problem> {
    let mut checks = Checks { places, problems: Vec::new() };
    checks.domains(config);
    checks.store(config);
    checks.listeners(config);
    checks.certificates(config);
    checks.limits(config);
    checks.components(config);
    checks.login(config);
    checks.places(config);
    checks.problems
}

struct Checks<'a> {
    places: &'a Places,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    fn require(&mut self, right: bool, key: &str, message: impl FnOnce() -> String) {
        if !right {
            self.problems.push(self.places.problem(key, &message()));
        }
    }

    fn domains(&mut self, config: &Config) {
        let domains = &config.server.domains;
        self.require(!domains.is_empty(), "server.domains", || "at least one domain is needed".to_owned());
        self.unique(domains, "server.domains");
        for service in config.pubsub_domains() {
            self.require(!domains.contains(&service), "server.domains", || {
                format!("\"{service}\" is a service of this server, unless pubsub.service is \"off\"")
            });
        }
    }

    fn store(&mut self, config: &Config) {
        let problem = config.store.url.problem();
        self.require(problem.is_none(), "store.url", || problem.unwrap_or_default());
    }

    fn listeners(&mut self, config: &Config) {
        let listen = &config.listen;
        let none = listen.starttls.is_empty() && listen.direct_tls.is_empty();
        self.require(!none, "listen.starttls", || {
            "with neither starttls nor direct_tls no client can connect".to_owned()
        });
        let all = [
            ("listen.starttls", listen.starttls.as_slice()),
            ("listen.direct_tls", listen.direct_tls.as_slice()),
            ("metrics.listen", config.metrics.listen.as_slice()),
            ("admin.listen", config.admin.listen.as_slice()),
        ];
        let mut seen: BTreeSet<SocketAddr> = BTreeSet::new();
        for (key, addresses) in all {
            for address in addresses {
                let free = address.port() == 0 || seen.insert(*address);
                self.require(free, key, || format!("\"{address}\" is listed twice"));
            }
        }
        for (key, address, example, lacks) in [
            ("metrics.listen", config.metrics.listen, "127.0.0.1:9522", "no TLS and no login"),
            ("admin.listen", config.admin.listen, "127.0.0.1:9523", "no TLS"),
        ] {
            let loopback = address.is_none_or(|address| address.ip().is_loopback());
            self.require(loopback, key, || {
                format!("only a loopback address such as \"{example}\" is safe here: there is {lacks}")
            });
        }
    }

    fn components(&mut self, config: &Config) {
        for address in &config.components.listen {
            self.require(address.ip().is_loopback(), "components.listen", || {
                format!("\"{address}\" is not a loopback address; components have no TLS")
            });
        }
        let mut seen = BTreeSet::new();
        for component in &config.components.allow {
            let name = component.name.as_str();
            let is_own = config.server.domains.contains(&component.name);
            self.require(!is_own, "components.allow", || format!("\"{name}\" is in server.domains"));
            let is_service = config.pubsub_domains().iter().any(|domain| domain.as_str() == name);
            self.require(!is_service, "components.allow", || {
                format!("\"{name}\" is a service of this server, unless pubsub.service is \"off\"")
            });
            self.require(seen.insert(name), "components.allow", || format!("\"{name}\" is there twice"));
            let has_secret = component.secret.reveal().is_some();
            self.require(has_secret, "components.allow", || format!("\"{name}\" has no secret"));
        }
    }

    fn certificates(&mut self, config: &Config) {
        let certificates = &config.tls.certificate;
        for (index, certificate) in certificates.iter().enumerate() {
            let key = format!("tls.certificate[{index}].domains");
            for domain in &certificate.domains {
                let served = config.server.domains.contains(domain);
                self.require(served, &key, || format!("\"{domain}\" is not in server.domains"));
            }
        }
        for domain in &config.server.domains {
            let count = certificates.iter().filter(|certificate| certificate.is_for(domain)).count();
            let key = "tls.certificate";
            self.require(count > 0 || certificates.is_empty(), key, || {
                format!(
                    "no certificate is for \"{domain}\"; add one, or take the domain out of server.domains"
                )
            });
            self.require(count < 2, key, || {
                format!("{count} certificates are for \"{domain}\"; one is needed")
            });
        }
    }

    fn limits(&mut self, config: &Config) {
        let limits = &config.limits;
        let seconds = Duration::from_secs;
        self.range(
            "limits.stanza_bytes_before_auth",
            limits.stanza_bytes_before_auth,
            STANZA_BYTES_MIN,
            STANZA_BYTES_MAX,
        );
        self.range("limits.stanza_bytes", limits.stanza_bytes, STANZA_BYTES_MIN, STANZA_BYTES_MAX);
        self.range("limits.outbox_bytes", limits.outbox_bytes, limits.stanza_bytes, Size::kib(u32::MAX));
        self.range("limits.auth_timeout", limits.auth_timeout, seconds(1), seconds(300));
        self.range("limits.auth_delay_max", limits.auth_delay_max, seconds(0), seconds(60));
        self.range("limits.auth_attempts", limits.auth_attempts, 3, 6);
        self.range("limits.bind_timeout", limits.bind_timeout, seconds(1), seconds(300));
        self.range("limits.sessions_per_account", limits.sessions_per_account, 1, 100_000);
        self.require(
            limits.bytes_per_second == Size::bytes(0) || limits.bytes_per_second >= BYTES_PER_SECOND_MIN,
            "limits.bytes_per_second",
            || {
                format!(
                    "\"{}\" is out of range: from \"{BYTES_PER_SECOND_MIN}\", or 0",
                    limits.bytes_per_second
                )
            },
        );
        let forget_after = config.devices.forget_after;
        self.range("devices.forget_after", forget_after, seconds(3_600), seconds(100 * 365 * 86_400));
        self.range("limits.idle_timeout", limits.idle_timeout, seconds(10), seconds(86_400));
        self.range("limits.resume_timeout", limits.resume_timeout, seconds(0), seconds(30 * 86_400));
        self.range("limits.connections_before_auth", limits.connections_before_auth, 1, u32::MAX);
        self.range("limits.unfinished_stanzas", limits.unfinished_stanzas, 1, 100_000);
        self.range("limits.devices_per_account", limits.devices_per_account, 1, 100_000);
        self.range("archive.retention_days", config.archive.retention_days, 0, 36_500);
    }

    fn range<T: PartialOrd + Shown + Copy>(&mut self, key: &str, value: T, least: T, most: T) {
        self.require(value >= least && value <= most, key, || {
            format!("{} is out of range: from {} to {}", value.shown(), least.shown(), most.shown())
        });
    }

    fn login(&mut self, config: &Config) {
        let mechanisms = &config.login.mechanisms;
        self.require(!mechanisms.is_empty(), "login.mechanisms", || {
            "without a mechanism no client can log in".to_owned()
        });
        self.unique(mechanisms, "login.mechanisms");
    }

    /// The server makes its socket and its files anew: none of them may take the place of another.
    fn places(&mut self, config: &Config) {
        let data_dir = &config.server.data_dir;
        let mut taken = vec![(data_dir.clone(), "server.data_dir")];
        if let StoreUrl::Sqlite(file) = &config.store.url {
            taken.push((data_dir.join(file), "store.url"));
        }
        for certificate in &config.tls.certificate {
            taken.push((certificate.cert.clone(), "tls.certificate"));
            taken.push((certificate.key.clone(), "tls.certificate"));
        }
        for (file, key) in
            [(&config.admin.token_file, "admin.token_file"), (&config.admin.socket, "admin.socket")]
        {
            let path = data_dir.join(&**file);
            let other = taken.iter().find(|(other, _)| same(other, &path)).map(|(_, other)| *other);
            self.require(other.is_none(), key, || {
                format!("{} is what {} names", path.display(), other.unwrap_or_default())
            });
            taken.push((path, key));
        }
    }

    fn unique<T: Ord + std::fmt::Display>(&mut self, values: &[T], key: &str) {
        let mut seen = BTreeSet::new();
        for value in values {
            self.require(seen.insert(value), key, || format!("\"{value}\" is listed twice"));
        }
    }
}

/// Whether two paths lead to one place, as far as their words tell.
fn same(one: &Path, other: &Path) -> bool {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute(one) == absolute(other)
}

/// How a message shows a limit: as it would be written.
trait Shown {
    fn shown(&self) -> String;
}

impl Shown for u32 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for Size {
    fn shown(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Shown for Duration {
    fn shown(&self) -> String {
        format!("\"{}\"", self.text())
    }
}
