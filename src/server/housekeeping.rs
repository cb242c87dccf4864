//! What has to be done from time to time while the server runs. Each is done beside the others: none waits for another
//! that takes long.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use metrics::gauge;
use tokio::signal::unix::Signal;
use tokio::time::interval;
use unisono_core::datetime::format_utc;
use unisono_core::hub::Hub;
use unisono_core::ids::LogPosition;
use unisono_net::tls::{CertInfo, CertStore};

use crate::config::Config;
use crate::tls_default;

/// A certificate that ends sooner was forgotten: it is renewed a month before its end.
const FORGOTTEN: Duration = Duration::from_secs(14 * 86_400);
/// How often that is said.
const REMIND_EVERY: Duration = Duration::from_secs(86_400);

/// How often things are done.
pub(crate) struct Times {
    /// It is stored what the devices have.
    pub(crate) cursors: Duration,
    /// Sessions expire, and accounts leave the memory.
    pub(crate) sweep: Duration,
    /// Certificates are looked at.
    pub(crate) certificates: Duration,
    /// The archive is cleared of what is older than it should be.
    pub(crate) retention: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            cursors: Duration::from_millis(250),
            sweep: Duration::from_secs(1),
            certificates: Duration::from_secs(60),
            retention: Duration::from_secs(3600),
        }
    }
}

/// Does all of it, until it is dropped.
pub(crate) async fn keep(hub: Arc<Hub>, certs: Arc<CertStore>, config: Config, hangup: Signal, times: Times) {
    let clearing = clear(&hub, config.archive.retention_days, times.retention);
    let looking = Upkeep::new(certs, config).look_often(times.certificates, hangup);
    keep_beside(&hub, &times, looking, clearing).await;
}

/// What takes no time, beside what may take long.
async fn keep_beside(
    hub: &Arc<Hub>,
    times: &Times,
    looking: impl Future<Output = ()>,
    clearing: impl Future<Output = ()>,
) {
    tokio::join!(tend(hub, times), looking, clearing);
}

/// Each of this takes no time.
async fn tend(hub: &Arc<Hub>, times: &Times) {
    let (mut cursors, mut sweep) = (interval(times.cursors), interval(times.sweep));
    loop {
        tokio::select! {
            _ = cursors.tick() => { hub.store_cursors(); }
            _ = sweep.tick() => hub.sweep(),
        }
    }
}

/// Forgets what is older than the archive should keep.
async fn clear(hub: &Hub, retention_days: u32, every: Duration) {
    if retention_days == 0 {
        return;
    }
    let age = i64::from(retention_days).saturating_mul(24 * 3600 * 1_000_000);
    let mut due = interval(every);
    loop {
        due.tick().await;
        let before = LogPosition(hub.clock.now_micros().saturating_sub(age));
        match hub.store.purge(None, before).await {
            Ok(0) => {}
            Ok(entries) => tracing::info!(entries, "deleted what the archive need not keep"),
            Err(error) => tracing::error!(%error, "cannot clear the archive"),
        }
    }
}

/// What keeps the certificates valid.
struct Upkeep {
    certs: Arc<CertStore>,
    config: Arc<Config>,
    /// Why the server's own certificate could not be renewed at the last look; told once.
    problem: Option<String>,
    /// When it was last said that a certificate ends soon.
    reminded: Option<SystemTime>,
}

impl Upkeep {
    fn new(certs: Arc<CertStore>, config: Config) -> Self {
        Self { certs, config: Arc::new(config), problem: None, reminded: None }
    }

    async fn look_often(mut self, every: Duration, mut hangup: Signal) {
        let mut due = interval(every);
        loop {
            tokio::select! {
                _ = due.tick() => {}
                // Whoever replaces a certificate need not wait.
                _ = hangup.recv() => {}
            }
            self.look().await;
            self.tell(SystemTime::now());
        }
    }

    /// Makes the server's own certificate anew before it ends, and reads those that have changed.
    async fn look(&mut self) {
        let (certs, config) = (self.certs.clone(), self.config.clone());
        let looking = tokio::task::spawn_blocking(move || {
            let now = SystemTime::now();
            let renewed = tls_default::renew(&config, now).map_err(|error| error.to_string());
            certs.reload_if_changed(now);
            renewed
        });
        // The other way to end is a panic, which the panic hook has told.
        let Ok(renewed) = looking.await else { return };
        match &renewed {
            Ok(true) => tracing::info!("the self-signed certificate ended soon, made another"),
            Err(reason) if self.problem.as_ref() != Some(reason) => {
                tracing::error!(reason, "cannot renew the self-signed certificate");
            }
            Ok(false) | Err(_) => {}
        }
        self.problem = renewed.err();
    }

    /// Says when the first certificate ends, to the metrics and, if that is soon, to the log.
    fn tell(&mut self, now: SystemTime) {
        let identities = self.certs.identities();
        let Some(first) = identities.iter().map(|identity| identity.info()).min_by_key(|info| info.not_after)
        else {
            return;
        };
        gauge!("unisono_certificate_expiry_seconds").set(seconds_until(first.not_after, now));
        if self.reminds(first, now) {
            let until = format_utc(micros(first.not_after)).to_string();
            tracing::warn!(names = ?first.names, until, "a certificate ends soon, or has ended: renew it");
        }
    }

    /// Whether it is time to say that a certificate ends soon.
    fn reminds(&mut self, first: &CertInfo, now: SystemTime) -> bool {
        let is_soon = now.checked_add(FORGOTTEN).is_none_or(|then| then > first.not_after);
        let was_said = self.reminded.and_then(|said| now.duration_since(said).ok());
        let is_due = is_soon && was_said.is_none_or(|ago| ago >= REMIND_EVERY);
        if is_due {
            self.reminded = Some(now);
        }
        is_due
    }
}

/// Below zero when it is over.
fn seconds_until(end: SystemTime, now: SystemTime) -> f64 {
    end.duration_since(now).map_or_else(|error| -error.duration().as_secs_f64(), |left| left.as_secs_f64())
}

fn micros(moment: SystemTime) -> i64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use std::path::Path;
    use std::sync::atomic::{AtomicI64, Ordering};

    use tokio::signal::unix::{SignalKind, signal};
    use tokio::time::{sleep, timeout};
    use unisono_core::clock::Clock;
    use unisono_core::extension::Registry;
    use unisono_core::hub::Settings;
    use unisono_core::jid::BareJid;
    use unisono_core::stanza::CLIENT_SCOPE;
    use unisono_core::storage::{Accounts, Wake};
    use unisono_net::tls::self_signed;
    use unisono_store::MemoryStore;
    use unisono_xml::{Element, Limits};

    use super::*;
    use crate::system::SystemRandom;

    const DAY: i64 = 24 * 3600 * 1_000_000;
    const SOON: Duration = Duration::from_millis(10);
    const NEVER: Duration = Duration::from_secs(1_000_000);

    /// It does not go by itself.
    struct Calendar(AtomicI64);

    impl Clock for Calendar {
        fn now_micros(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }

        fn elapsed(&self) -> Duration {
            Duration::from_micros(u64::try_from(self.now_micros()).unwrap())
        }
    }

    struct Asleep;

    impl Wake for Asleep {
        fn wake(&self) {}
    }

    fn alice() -> BareJid {
        "alice@localhost".parse().unwrap()
    }

    async fn hub(clock: Arc<Calendar>) -> Arc<Hub> {
        let store = Arc::new(MemoryStore::new());
        store.create(&alice(), &[], 0).await.unwrap();
        let settings = Settings { domains: vec!["localhost".parse().unwrap()], ..Settings::default() };
        let registry = Registry::new(unisono_xeps::ALL);
        Hub::open(store, registry, clock, Arc::new(SystemRandom), settings).await.unwrap()
    }

    /// A configuration, and the certificate that goes with it.
    fn certificate(folder: &Path) -> (Config, Arc<CertStore>) {
        let mut config = Config::default();
        config.server.data_dir = folder.to_owned();
        config.archive.retention_days = 30;
        let now = SystemTime::now();
        let files = tls_default::certificates(&config, now).unwrap().0;
        (config, Arc::new(CertStore::load(files, now).unwrap()))
    }

    fn hangup() -> Signal {
        signal(SignalKind::hangup()).unwrap()
    }

    /// Until it is so, while `work` is done.
    async fn until(work: impl Future<Output = ()>, is_so: impl AsyncFn() -> bool) {
        let waiting = async {
            while !is_so().await {
                sleep(SOON).await;
            }
        };
        let waited = timeout(Duration::from_secs(60), async {
            tokio::select! {
                () = work => panic!("it does not end"),
                () = waiting => {}
            }
        });
        waited.await.expect("it is never done");
    }

    #[tokio::test]
    async fn the_archive_is_cleared_from_time_to_time() {
        let clock = Arc::new(Calendar(AtomicI64::new(1000 * DAY)));
        let hub = hub(clock.clone()).await;
        let number = hub.connection_number();
        let info =
            unisono_core::session::ConnectionInfo { address: String::new(), tls: String::new(), since: 0 };
        let connection = unisono_core::hub::Connection { number, wake: Arc::new(Asleep), info };
        let session = hub.bind(&alice(), Some("phone"), connection).await.unwrap();
        let purged = async || hub.store.purged(session.cell.id).await.unwrap();
        let say = || {
            let text = "<message to='alice@localhost' type='chat'><body>x</body></message>";
            hub.receive(&session, &Element::parse(text, &CLIENT_SCOPE, &Limits::default()).unwrap())
        };
        let folder = tempfile::tempdir().unwrap();
        let (config, certs) = certificate(folder.path());
        let times = Times { retention: SOON, cursors: NEVER, sweep: NEVER, certificates: NEVER };
        let mut keeping = Box::pin(keep(hub.clone(), certs, config, hangup(), times));
        for _ in 0..2 {
            let before = purged().await;
            drop(say());
            hub.settled(&session.cell).await;
            clock.0.fetch_add(31 * DAY, Ordering::Relaxed);
            until(keeping.as_mut(), async || purged().await > before).await;
        }
    }

    /// A database that needs an hour to delete, or files that cannot be read, keep nobody waiting.
    #[tokio::test]
    async fn what_takes_long_stops_nothing_else() {
        let clock = Arc::new(Calendar(AtomicI64::new(1000 * DAY)));
        let hub = hub(clock.clone()).await;
        let times = Times { sweep: SOON, ..Times::default() };
        drop(hub.account(&alice()).await.unwrap());
        assert!(hub.resident(&alice()).is_some());
        clock.0.fetch_add(DAY, Ordering::Relaxed);
        let long = std::future::pending::<()>;
        until(keep_beside(&hub, &times, long(), long()), async || hub.resident(&alice()).is_none()).await;
    }

    #[tokio::test]
    async fn certificates_are_looked_at_from_time_to_time() {
        let hub = hub(Arc::new(Calendar(AtomicI64::new(0)))).await;
        let folder = tempfile::tempdir().unwrap();
        let (config, certs) = certificate(folder.path());
        let directory = config.own_tls_dir();
        let times = Times { certificates: SOON, cursors: NEVER, sweep: NEVER, retention: NEVER };
        let mut keeping = Box::pin(keep(hub, certs.clone(), config, hangup(), times));
        for _ in 0..2 {
            let before = certs.select(None, None);
            let made = self_signed(&["localhost".to_owned()], SystemTime::now()).unwrap();
            std::fs::write(directory.join("self-signed.pem"), made.certificate_pem).unwrap();
            std::fs::write(directory.join("self-signed.key"), made.key_pem).unwrap();
            let is_new = async || !Arc::ptr_eq(&before, &certs.select(None, None));
            until(keeping.as_mut(), is_new).await;
        }
    }

    #[tokio::test]
    async fn a_certificate_that_ends_soon_is_told_once_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let (config, certs) = certificate(folder.path());
        let first = certs.select(None, None);
        let (first, mut upkeep) = (first.info(), Upkeep::new(certs.clone(), config));
        let day = Duration::from_secs(86_400);
        let before_end = |days: u32| first.not_after - day * days;
        let hour = Duration::from_secs(3600);
        for (now, want) in [
            (before_end(15), false),
            (before_end(14) + hour, true),
            (before_end(14) + hour * 2, false),
            (before_end(13), false),
            (before_end(13) + hour, true),
            (first.not_after + day, true),
        ] {
            assert_eq!(upkeep.reminds(first, now), want, "{now:?}");
        }
        assert!((seconds_until(first.not_after, before_end(1)) - 86_400.0).abs() < 1.0);
        assert!((seconds_until(first.not_after, first.not_after + hour) + 3600.0).abs() < 1.0);
    }
}
