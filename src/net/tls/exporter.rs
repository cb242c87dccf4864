//! The channel binding `tls-exporter` (RFC 9266), from the exporter of TLS 1.3 (RFC 8446 §7.5).
//!
//! rustls makes exporters for its buffered connections alone. Of the others it gives the secret that they are made from,
//! to whom its configuration names for that, once in a handshake.

use std::fmt;
use std::sync::OnceLock;

use rustls::crypto::tls13::{HkdfExpander, OkmBlock};
use rustls::{CommonState, KeyLog, SupportedCipherSuite};

/// What the key log calls the secret.
const EXPORTER_SECRET: &str = "EXPORTER_SECRET";
/// RFC 9266 §2
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Takes down the secret of one handshake.
#[derive(Default)]
pub(super) struct Exporter(OnceLock<OkmBlock>);

impl Exporter {
    /// `tls-exporter` (RFC 9266 §2). `None` before the handshake ends, and for TLS 1.2: there, the context of
    /// length zero that the RFC asks for differs from no context (RFC 5705 §4), which is what one gets from
    /// common libraries without asking. A login that fails would be worse than the other channel binding.
    pub(super) fn channel_binding(&self, agreed: &CommonState) -> Option<[u8; 32]> {
        let secret = self.0.get()?;
        let SupportedCipherSuite::Tls13(suite) = agreed.negotiated_cipher_suite()? else { return None };
        let hash_of_nothing = suite.common.hash_provider.hash(&[]);
        let expander = suite.hkdf_provider.expander_for_okm(secret);
        let mut own = vec![0; expander.hash_len()];
        expand_label(&*expander, LABEL, hash_of_nothing.as_ref(), &mut own)?;
        let expander = suite.hkdf_provider.expander_for_okm(&OkmBlock::new(&own));
        let mut binding = [0; 32];
        expand_label(&*expander, b"exporter", hash_of_nothing.as_ref(), &mut binding)?;
        Some(binding)
    }
}

/// `HKDF-Expand-Label` (RFC 8446 §7.1).
fn expand_label(expander: &dyn HkdfExpander, label: &[u8], context: &[u8], out: &mut [u8]) -> Option<()> {
    const PREFIX: &[u8] = b"tls13 ";
    let length = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label_length = [u8::try_from(PREFIX.len().saturating_add(label.len())).ok()?];
    let context_length = [u8::try_from(context.len()).ok()?];
    expander.expand_slice(&[&length, &label_length, PREFIX, label, &context_length, context], out).ok()
}

impl KeyLog for Exporter {
    fn will_log(&self, label: &str) -> bool {
        label == EXPORTER_SECRET
    }

    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == EXPORTER_SECRET {
            self.0.get_or_init(|| OkmBlock::new(secret));
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}
