//! What the log says of connections, and how often.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::time::sleep;
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, set_default};
use unisono_net::Security;

use crate::client::Client;
use crate::scram::Scram;
use crate::server::{PASSWORD, Server};

/// What is logged on this thread, which is that of the test and its server.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn begin() -> (Self, DefaultGuard) {
        // With a single subscriber, `tracing` asks the thread that comes to a line first whether anybody listens, which may
        // be that of another test, and remembers its answer for all.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        ANOTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, set_default(subscriber))
    }

    /// The lines with `text` since the last look.
    pub(crate) fn take(&self, text: &str) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let lines = String::from_utf8(bytes).unwrap();
        lines.lines().filter(|line| line.contains(text)).map(ToOwned::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_told_of_a_few_times_a_minute() {
    const LINE: &str = "cannot read a credential";
    let (log, _guard) = Log::begin();
    let server = Server::start().await;
    server.user("alice").await;
    let log_in = async |from: &str, name: &str| {
        let mut client = Client::direct(server.connect_from(from, Security::DirectTls), &server.roots).await;
        client.open().await;
        client.authenticate(&Scram::new("SCRAM-SHA-256", name, PASSWORD)).await
    };
    log_in("192.0.2.1:1", "alice").await.unwrap();
    assert_eq!(log.take(LINE), [""; 0]);

    server.store.fail_reads(true);
    for n in 0..25 {
        // There or not, which nobody can know now: the client is told to come again (RFC 6120 §6.5.11).
        let name = if n % 2 == 0 { "alice" } else { "nobody" };
        let failure = log_in("192.0.2.1:1", name).await.unwrap_err();
        assert!(failure.contains("<temporary-auth-failure"), "{failure}");
    }
    let told = log.take(LINE);
    assert_eq!(told.len(), 10, "{told:?}");
    assert!(told.iter().all(|line| line.contains("ERROR") && line.contains("told to fail")), "{told:?}");
    assert!(told[0].contains("account=alice@example.org") && told[1].contains("account=nobody@example.org"));
    // Others are told of all the same.
    log_in("192.0.2.2:1", "alice").await.unwrap_err();
    assert_eq!(log.take(LINE).len(), 1);
    // After a minute there is a line again, with how many were left out.
    sleep(Duration::from_secs(60)).await;
    for _ in 0..2 {
        log_in("192.0.2.1:1", "alice").await.unwrap_err();
    }
    let told = log.take(LINE);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("left_out=15") && !told[1].contains("left_out"), "{told:?}");

    server.store.fail_reads(false);
    log_in("192.0.2.1:1", "alice").await.unwrap();
    assert_eq!(log.take(LINE), [""; 0]);
}
