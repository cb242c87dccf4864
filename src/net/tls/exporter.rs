//! The channel binding `tls-exporter` (RFC 9266), from the exporter of TLS 1.3 (RFC 8446 §7.5).
//!
//! rustls makes exporters for its buffered connections alone. Of the others it gives the secret that they are made from,
//! to whom its configuration names for that, once in a handshake.

use std::fmt;
use std::sync::OnceLock;

use rustls::crypto::tls13::OkmBlock;
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
        let context = hash_of_nothing.as_ref();
        let expander = suite.hkdf_provider.expander_for_okm(secret);
        let own = expander.expand_block(&HkdfLabel::new(expander.hash_len(), LABEL, context)?.parts());
        let expander = suite.hkdf_provider.expander_for_okm(&own);
        let mut binding = [0; 32];
        let label = HkdfLabel::new(binding.len(), b"exporter", context)?;
        expander.expand_slice(&label.parts(), &mut binding).ok()?;
        Some(binding)
    }
}

/// `HkdfLabel` (RFC 8446 §7.1).
struct HkdfLabel<'a> {
    length: [u8; 2],
    name_length: [u8; 1],
    name: &'a [u8],
    context_length: [u8; 1],
    context: &'a [u8],
}

impl<'a> HkdfLabel<'a> {
    const PREFIX: &'static [u8] = b"tls13 ";

    fn new(length: usize, name: &'a [u8], context: &'a [u8]) -> Option<Self> {
        Some(Self {
            length: u16::try_from(length).ok()?.to_be_bytes(),
            name_length: [u8::try_from(Self::PREFIX.len().saturating_add(name.len())).ok()?],
            name,
            context_length: [u8::try_from(context.len()).ok()?],
            context,
        })
    }

    fn parts(&self) -> [&[u8]; 6] {
        [&self.length, &self.name_length, Self::PREFIX, self.name, &self.context_length, self.context]
    }
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
