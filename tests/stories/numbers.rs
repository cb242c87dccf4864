//! The numbers that tell whether the promises hold.

use crate::harness::{Database, Server, chat, on_each_database};

on_each_database!(the_metrics_show_what_the_mission_counts);

async fn the_metrics_show_what_the_mission_counts(database: Database) {
    let server = Server::start(database).await;
    let mut bob = server.managed("bob", "phone").await;
    let mut alice = server.managed("alice", "phone").await;
    alice.send(&chat("bob", "once")).await;
    alice.recorded().await;
    let lost = alice.lose();
    // The acknowledgement got lost, too, or so the client believes.
    let mut alice = server.resumed("alice", lost).await;
    alice.send(&chat("bob", "once")).await;
    alice.send(&chat("bob", "end")).await;
    alice.recorded().await;
    bob.answers = false;
    bob.hears("once").await;
    bob.hears("end").await;
    // He has not said that he has it.
    let lag = server.metric("unisono_device_cursor_lag_seconds{quantile=\"1\"}").await;
    assert!(lag > 0.0 && lag < 3600.0, "{lag}");
    bob.acknowledge().await;
    bob.settle().await;
    let refused = server.metric("unisono_stanzas_refused_total").await;
    alice.send("<iq type='get' id='1' to='example.org'><nothing xmlns='urn:example:nothing'/></iq>").await;
    alice.acknowledged().await;
    let refused_now = server.metric("unisono_stanzas_refused_total").await;
    assert_eq!(refused_now.to_bits(), (refused + 1.0).to_bits());
    for (name, want) in [
        ("unisono_messages_recorded_total", 2.0),
        ("unisono_duplicates_suppressed_total", 1.0),
        ("unisono_gap_total", 0.0),
        ("unisono_resumptions_total{outcome=\"resumed\"}", 1.0),
        ("unisono_resumptions_total{outcome=\"failed\"}", 0.0),
        ("unisono_sessions{state=\"connected\"}", 2.0),
        ("unisono_sessions{state=\"detached\"}", 0.0),
        ("unisono_accounts", 2.0),
        ("unisono_store_failing", 0.0),
        ("unisono_device_cursor_lag_seconds{quantile=\"1\"}", 0.0),
    ] {
        assert_eq!(server.metric(name).await.to_bits(), f64::to_bits(want), "{name}");
    }
    // Each acknowledgement waited for a commit that took its time, and each went out after it.
    let acknowledged = server.metric("unisono_ack_to_commit_seconds_count").await;
    assert!(acknowledged >= 2.0, "{acknowledged}");
    let most = server.metric("unisono_ack_to_commit_seconds_bucket{le=\"+Inf\"}").await;
    assert_eq!(most.to_bits(), acknowledged.to_bits());
    assert!(server.metric("unisono_ack_to_commit_seconds_sum").await > 0.0);
    let commits = server.metric("unisono_store_commit_seconds_count").await;
    assert!(commits >= acknowledged, "{commits} {acknowledged}");
    assert!(server.metric("unisono_store_commit_seconds_sum").await > 0.0);
    assert!(server.metric("unisono_stanzas_total").await >= 7.0);
}
