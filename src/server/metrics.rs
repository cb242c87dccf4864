//! Numbers for Prometheus: what the crates count as they go, and what the hub knows when it is asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use unisono_core::delays::{BOUNDS, Delays};
use unisono_core::hub::Hub;

/// Bounds of the histograms, in seconds: a commit takes from parts of a millisecond to the time a disk needs to fail.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Makes the counters of all crates readable.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    let builder = PrometheusBuilder::new();
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?;
    let handle = builder.install_recorder()?;
    describe_histogram!(
        "unisono_store_commit_seconds",
        "how long commits took that became durable, without those that failed before"
    );
    describe_counter!("unisono_stanzas_total", "stanzas received from devices");
    describe_counter!("unisono_stanzas_sent_total", "stanzas written to devices");
    describe_counter!("unisono_stanzas_refused_total", "stanzas of devices that were answered with an error");
    describe_counter!("unisono_messages_recorded_total", "messages recorded in a log");
    describe_counter!(
        "unisono_duplicates_suppressed_total",
        "messages sent again that were not recorded again"
    );
    describe_counter!(
        "unisono_gap_total",
        "entries that a device should have had and the log lost; must be 0"
    );
    describe_counter!(
        "unisono_sasl_delayed_total",
        "logins that had to wait, since many failed from the same network or to the same account"
    );
    describe_counter!("unisono_resumptions_total", "sessions that clients asked to resume");
    describe_counter!(
        "unisono_admin_refusals_total",
        "requests to the port of the administration API without right"
    );
    describe_gauge!("unisono_sessions", "sessions in memory");
    describe_gauge!("unisono_accounts", "accounts in memory");
    describe_gauge!(
        "unisono_device_cursor_lag_seconds",
        "age of the oldest message that a device with a session has not acknowledged"
    );
    describe_gauge!(
        "unisono_certificate_expiry_seconds",
        "seconds until the first of the served certificates expires; below 0 when it has"
    );
    describe_gauge!("unisono_store_failing", "1 while the store takes no commits");
    Ok(handle)
}

/// Answers `GET /metrics` at an address until the future of the listener is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    handle: PrometheusHandle,
    hub: Arc<Hub>,
) -> std::io::Result<()> {
    let router = Router::new().route("/metrics", get(render)).with_state((handle, hub));
    axum::serve(listener, router).await
}

/// Listens at the address for metrics.
pub(crate) async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn render(State((handle, hub)): State<(PrometheusHandle, Arc<Hub>)>) -> String {
    observe(&hub);
    let mut page = handle.render();
    histogram(
        &mut page,
        "unisono_ack_to_commit_seconds",
        "from the commit that an acknowledgement had to wait for until it went out",
        &hub.counters.ack_to_commit,
    );
    page
}

/// Delays that were counted elsewhere, in the text format of Prometheus.
fn histogram(page: &mut String, name: &str, about: &str, delays: &Delays) {
    use std::fmt::Write;
    let counted = delays.counted();
    let mut write = |line: std::fmt::Arguments<'_>| {
        // To write into a string cannot fail.
        let _ = page.write_fmt(line);
    };
    write(format_args!("# HELP {name} {about}\n# TYPE {name} histogram\n"));
    for (bound, within) in BOUNDS.iter().zip(counted.within) {
        write(format_args!("{name}_bucket{{le=\"{}\"}} {within}\n", bound.as_secs_f64()));
    }
    let (count, total) = (counted.count, counted.total.as_secs_f64());
    write(format_args!("{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {total}\n{name}_count {count}\n"));
}

/// What the hub knows.
fn observe(hub: &Hub) {
    let total =
        |name: &'static str, value: &AtomicU64| counter!(name).absolute(value.load(Ordering::Relaxed));
    total("unisono_stanzas_total", &hub.counters.stanzas);
    total("unisono_stanzas_sent_total", &hub.counters.written);
    total("unisono_stanzas_refused_total", &hub.counters.refused);
    total("unisono_messages_recorded_total", &hub.counters.recorded);
    total("unisono_duplicates_suppressed_total", &hub.counters.duplicates);
    total("unisono_gap_total", &hub.counters.gaps);
    for (outcome, value) in [("resumed", &hub.counters.resumed), ("failed", &hub.counters.resume_failed)] {
        counter!("unisono_resumptions_total", "outcome" => outcome).absolute(value.load(Ordering::Relaxed));
    }
    let overview = hub.overview();
    gauge!("unisono_accounts").set(as_number(overview.accounts));
    gauge!("unisono_sessions", "state" => "connected").set(as_number(overview.connected));
    gauge!("unisono_sessions", "state" => "detached").set(as_number(overview.detached));
    for (quantile, share) in [("0.5", 0.5), ("0.99", 0.99), ("1", 1.0)] {
        gauge!("unisono_device_cursor_lag_seconds", "quantile" => quantile)
            .set(overview.lag(share).as_secs_f64());
    }
    gauge!("unisono_store_failing").set(f64::from(u8::from(hub.store.failing().is_some())));
}

#[expect(clippy::cast_precision_loss, reason = "counts of sessions are far below 2^52")]
fn as_number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_a_histogram_in_the_text_format() {
        let mut page = "# before\n".to_owned();
        histogram(&mut page, "delay_seconds", "what it is", &Delays::default());
        let lines: Vec<_> = page.lines().collect();
        assert_eq!(lines.len(), 3 + BOUNDS.len() + 3);
        for line in [
            "# HELP delay_seconds what it is",
            "# TYPE delay_seconds histogram",
            "delay_seconds_bucket{le=\"0.00005\"} 0",
            "delay_seconds_bucket{le=\"10\"} 0",
            "delay_seconds_bucket{le=\"+Inf\"} 0",
            "delay_seconds_sum 0",
            "delay_seconds_count 0",
        ] {
            assert!(lines.contains(&line), "{line} is not in {page}");
        }
    }
}
