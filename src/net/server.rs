//! All client streams of a server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unisono_core::hub::Hub;
use unisono_core::storage::StoreError;

use crate::admission::{Admission, Frequency};
use crate::connection;
use crate::crew::Crew;
use crate::guessing::Guessing;
use crate::limits::Limits;
use crate::negotiation::{Security, Terms};
use crate::sampling::Sampling;
use crate::sasl::{Decoys, Policy};
use crate::signal::Signal;
use crate::tls::CertStore;

/// Serves clients (RFC 6120): listeners, and one task for each connection.
pub struct C2s {
    pub(crate) hub: Arc<Hub>,
    pub(crate) certs: Arc<CertStore>,
    pub(crate) terms: Arc<Terms>,
    pub(crate) admission: Arc<Admission>,
    /// Clients that have authenticated and not bound a resource; there may be as many as strangers.
    pub(crate) newcomers: Arc<Admission>,
    frequency: Frequency,
    pub(crate) guessing: Arc<Guessing>,
    pub(crate) sampling: Sampling,
    /// Passwords that are hashed at a time (PLAIN); each takes a thread for some milliseconds.
    pub(crate) hashing: Arc<Semaphore>,
    pub(crate) counts: Counts,
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
    /// By the numbers of the connections, and so in the order in which they came: a stop is the same each time.
    signals: Mutex<BTreeMap<u64, Arc<Signal>>>,
}

/// What is counted for the operator.
pub(crate) struct Counts {
    pub(crate) connections: Gauge,
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
    /// Attempts to authenticate that had to wait.
    pub(crate) delayed: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
}

impl Counts {
    fn new() -> Self {
        Self {
            connections: metrics::gauge!("unisono_client_connections"),
            accepted: metrics::counter!("unisono_client_connections_total"),
            refused: metrics::counter!("unisono_client_connections_refused_total"),
            delayed: metrics::counter!("unisono_sasl_delayed_total"),
            bytes_in: metrics::counter!("unisono_client_bytes_received_total"),
            bytes_out: metrics::counter!("unisono_client_bytes_sent_total"),
        }
    }
}

/// A connection that is told when the server stops, for as long as this lives.
pub(crate) struct Registered {
    c2s: Arc<C2s>,
    number: u64,
    pub(crate) signal: Arc<Signal>,
}

impl C2s {
    /// Serves the accounts of `hub` with the certificates of `certs`. Install the recorder of metrics before.
    pub async fn new(
        hub: Arc<Hub>,
        certs: Arc<CertStore>,
        limits: Limits,
        policy: Policy,
    ) -> Result<Arc<Self>, StoreError> {
        let mut drawn = [0; 32];
        hub.random.fill(&mut drawn);
        let secret = hub.store.secret("sasl-decoys", drawn).await?;
        let terms = Terms {
            domains: hub.settings.domains.clone(),
            policy,
            decoys: Arc::new(Decoys::new(&secret, &[])),
            random: Arc::clone(&hub.random),
            features: hub.registry.stream_features(&hub).collect(),
            inline: hub.registry.inline_features(&hub),
            at_login: hub.registry.inline_nonzas(),
            early_features: hub.registry.early_features(&hub).collect(),
            early_iqs: hub.registry.early_names(),
            limits,
        };
        let delay_max = terms.limits.authenticate_within.checked_div(3).unwrap_or_default();
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let admission = || {
            let Limits { unauthenticated_max, unauthenticated_per_address_max, .. } = terms.limits;
            Admission::new(unauthenticated_max, unauthenticated_per_address_max)
        };
        let (tasks, hashing) = (TaskTracker::new(), Arc::new(Semaphore::new(threads)));
        hub.employ(Arc::new(Crew { tasks: tasks.clone(), hashing: Arc::clone(&hashing) }));
        Ok(Arc::new(Self {
            admission: admission(),
            newcomers: admission(),
            frequency: Frequency::new(terms.limits.connection_rate),
            sampling: Sampling::default(),
            guessing: Guessing::new(terms.limits.sasl_delay_max.min(delay_max)),
            hub,
            certs,
            terms: Arc::new(terms),
            hashing,
            counts: Counts::new(),
            tasks,
            stopping: CancellationToken::new(),
            signals: Mutex::default(),
        }))
    }

    /// Serves one connection, on a task of its own. It is dropped at once if there are too many that have not
    /// authenticated, if too many came from there of late, or if the server stops.
    pub fn serve<IO>(self: &Arc<Self>, io: IO, peer: SocketAddr, security: Security)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let is_welcome = self.frequency.admits(Instant::now(), peer.ip());
        let Some(place) = is_welcome.then(|| self.admission.admit(peer.ip())).flatten() else {
            self.counts.refused.increment(1);
            if let Some(line) = self.sampling.line(Instant::now(), peer.ip(), "refused") {
                let left_out = line.left_out;
                tracing::info!(%peer, is_welcome, left_out, "too many connections, one is refused");
            }
            return;
        };
        if let Some(registered) = self.register() {
            self.tasks.spawn(connection::serve(Arc::clone(self), registered, io, peer, security, place));
        }
    }

    /// Stops: listeners close, every stream ends when what is due to its client is written, with `system-shutdown` unless it can be resumed, and
    /// sessions that can be resumed wait. Returns how many connections were not done after `grace`; they are cut off
    /// when the runtime stops. [`Hub::save`] is to be called then.
    pub async fn stop(&self, grace: Duration) -> usize {
        {
            // Under the lock, so that no connection can begin unseen.
            let signals = self.signals();
            self.stopping.cancel();
            signals.values().for_each(|signal| signal.stop());
        }
        self.tasks.close();
        let _all_done = tokio::time::timeout(grace, self.tasks.wait()).await;
        self.connections()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.signals().len()
    }

    fn register(self: &Arc<Self>) -> Option<Registered> {
        let number = self.hub.connection_number();
        let signal = Arc::new(Signal::default());
        let mut signals = self.signals();
        if self.stopping.is_cancelled() {
            return None;
        }
        signals.insert(number, Arc::clone(&signal));
        self.counts.accepted.increment(1);
        self.counts.connections.increment(1);
        Some(Registered { c2s: Arc::clone(self), number, signal })
    }

    fn signals(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Signal>>> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.c2s.signals().remove(&self.number);
        self.c2s.counts.connections.decrement(1);
    }
}
