//! TLS for streams, with rustls and aws-lc-rs.
//!
//! Follows RFC 9325 (TLS 1.3 and 1.2 only, and 1.2 only with the extended master secret of RFC 7627, so
//! that channel bindings are sound), XEP-0368 (ALPN), RFC 9266 and RFC 5929 (channel bindings). The
//! post-quantum key exchange X25519MLKEM768 is preferred.
//!
//! - A [`TlsIdentity`] is a certificate with its key, ready to serve. A [`CertStore`] holds those of all
//!   domains and reads their files again when they change.
//! - [`accept`] makes the handshake and says which identity it was made with: the channel binding
//!   `tls-server-end-point` depends on it, also while certificates are being replaced.

mod accept;
mod certificate;
mod client;
mod config;
mod exporter;
mod files;
mod identity;
mod self_signed;
mod session;
mod store;
mod stream;

pub use accept::{Secured, accept};
pub use certificate::{CertInfo, Validity, tls_server_end_point};
pub use client::{ClientConfigError, client_config};
pub use config::ALPN_XMPP_CLIENT;
pub use files::{CertError, CertFiles};
pub use identity::{IdentityError, TlsIdentity};
pub use self_signed::{SelfSigned, SelfSignedError, self_signed};
pub use store::{CertStore, Reload};
pub(crate) use stream::READ_BYTES;
pub use stream::TlsStream;
