//! TLS without input and output: records in, plain text out, and the other way.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CommonState, ServerConfig};
use tokio::io::ReadBuf;

/// What encryption adds to a record, in any version, and more.
const RECORD_OVERHEAD: usize = 64;
/// The largest content of a record (RFC 8446 §5.1).
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1024;

/// One side of a connection: rustls, and what it has made of its input.
pub(super) struct Session {
    tls: UnbufferedServerConnection,
    /// What was in the records, and did not fit where it was to be read to.
    pub(super) plain: BytesMut,
    /// What is to be written.
    pub(super) outgoing: Vec<u8>,
    /// The peer has said that it sends no more (RFC 8446 §6.1).
    is_ended: bool,
    /// Why nothing that is read has a meaning any more. The alert has told the peer.
    failed: Option<String>,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        let tls = UnbufferedServerConnection::new(config).map_err(invalid)?;
        Ok(Self { tls, plain: BytesMut::new(), outgoing: Vec::new(), is_ended: false, failed: None })
    }

    /// What was agreed upon.
    pub(super) fn agreed(&self) -> &CommonState {
        &self.tls
    }

    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Fails where it has failed before.
    pub(super) fn check(&self) -> io::Result<()> {
        let failed = self.failed.as_deref();
        failed.map_or(Ok(()), |why| Err(io::Error::new(io::ErrorKind::InvalidData, why)))
    }

    /// Nothing more is to be understood.
    pub(super) fn fail(&mut self, why: &str) -> io::Result<()> {
        self.failed = Some(why.to_owned());
        self.check()
    }

    /// Understands `records`. Returns how many bytes of them are done with; the rest is to be given again, with more
    /// behind it. Plain text goes to `first`, as far as there is room.
    pub(super) fn receive(
        &mut self,
        records: &mut [u8],
        first: Option<&mut ReadBuf<'_>>,
    ) -> io::Result<usize> {
        self.go_on(records, first, |_, _| Ok(()))
    }

    /// Puts `text` behind what is to be written. `records` is what is not understood yet.
    pub(super) fn encrypt(&mut self, records: &mut [u8], text: &[u8]) -> io::Result<usize> {
        let overhead = (text.len() / RECORD_BYTES_MAX).saturating_add(1).saturating_mul(RECORD_OVERHEAD);
        let room = text.len().saturating_add(overhead);
        let mut is_sent = false;
        let done = self.go_on(records, None, |traffic, out| {
            is_sent = true;
            append(out, room, |space| Ok(traffic.encrypt(text, space)?))
        })?;
        // TLS may have said the last word itself, when a key was used up.
        if is_sent { Ok(done) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Says that nothing more follows.
    pub(super) fn close(&mut self, records: &mut [u8]) -> io::Result<usize> {
        self.go_on(records, None, |traffic, out| {
            append(out, RECORD_OVERHEAD, |space| Ok(traffic.queue_close_notify(space)?))
        })
    }

    /// Lets rustls read `records` until it needs more, and then sends.
    fn go_on(
        &mut self,
        records: &mut [u8],
        first: Option<&mut ReadBuf<'_>>,
        send: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<usize> {
        self.check()?;
        let result = self.pump(records, first, send);
        if let Err(error) = &result {
            self.failed = Some(error.to_string());
        }
        result
    }

    /// The same. What TLS has to say itself is to be written, too; also the alert, if it fails.
    fn pump(
        &mut self,
        records: &mut [u8],
        mut first: Option<&mut ReadBuf<'_>>,
        send: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<usize> {
        let mut done = 0_usize;
        let error = loop {
            let left = records.get_mut(done..).unwrap_or_default();
            let UnbufferedStatus { discard, state, .. } = self.tls.process_tls_records(left);
            done = done.saturating_add(discard);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        done = done.saturating_add(record.discard);
                        put(record.payload, first.as_deref_mut(), &mut self.plain);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => encode(&mut message, &mut self.outgoing)?,
                Ok(ConnectionState::TransmitTlsData(transmitted)) => transmitted.done(),
                Ok(ConnectionState::PeerClosed) => self.is_ended = true,
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    send(&mut traffic, &mut self.outgoing)?;
                    return Ok(done);
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => return Ok(done),
                Ok(_) => return Err(io::Error::other("early data came, which is not offered")),
                Err(error) => break error,
            }
        };
        let left = records.get_mut(done..).unwrap_or_default();
        while self.tls.wants_write()
            && let Ok(ConnectionState::EncodeTlsData(mut alert)) = self.tls.process_tls_records(left).state
        {
            encode(&mut alert, &mut self.outgoing)?;
        }
        Err(invalid(error))
    }
}

/// Plain text, where there is room for it.
fn put(text: &[u8], first: Option<&mut ReadBuf<'_>>, rest: &mut BytesMut) {
    match first.filter(|_| rest.is_empty()) {
        Some(first) => {
            let (fits, left) = text.split_at(text.len().min(first.remaining()));
            first.put_slice(fits);
            rest.extend_from_slice(left);
        }
        None => rest.extend_from_slice(text),
    }
}

fn encode(message: &mut EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) -> io::Result<()> {
    append(out, 0, |space| {
        message.encode(space).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => Refused::TooSmall(size.required_size),
            EncodeError::AlreadyEncoded => Refused::Other(io::Error::other(error)),
        })
    })
}

/// Why nothing was written to a space.
enum Refused {
    /// It has to have so many bytes.
    TooSmall(usize),
    Other(io::Error),
}

impl From<EncryptError> for Refused {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(size) => Self::TooSmall(size.required_size),
            EncryptError::EncryptExhausted => Self::Other(io::Error::other(error)),
        }
    }
}

/// Appends what `write` puts into a space of `room` bytes, or of as many as it asks for.
fn append(
    out: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Refused>,
) -> io::Result<()> {
    let before = out.len();
    loop {
        out.resize(before.saturating_add(room), 0);
        match write(out.get_mut(before..).unwrap_or_default()) {
            Ok(count) => {
                out.truncate(before.saturating_add(count));
                return Ok(());
            }
            Err(Refused::TooSmall(needed)) if needed > room => room = needed,
            Err(refused) => {
                out.truncate(before);
                return Err(match refused {
                    Refused::Other(error) => error,
                    Refused::TooSmall(_) => {
                        io::Error::other("TLS does not fit into the space that it asked for")
                    }
                });
            }
        }
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
