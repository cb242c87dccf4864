//! The numbered messages of the load: each says who sent it, which it is, and when it was due.

use memchr::memmem;

/// What the body of a message of the load begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    /// The number of the sender.
    pub(super) sender: u32,
    /// Counts from 0 for each sender.
    pub(super) number: u64,
    /// When the message was to be sent, in nanoseconds of the run's clock; 0 where that is not measured.
    pub(super) due: u64,
}

const BEGIN: &[u8] = b"|u|";

/// Bytes of a stanza of the load, all told.
const STANZA_BYTES: usize = 300;

const FILLER: &str = "The quick brown fox jumps over the lazy dog, and so do the others after it, one by one. \
    Nobody knows why they do, and nobody asks them. They come back every day, whatever the weather, and jump \
    again over the same dog, which has stopped to look up long ago, as it knows them all by their names.";

/// Appends a message of 300 bytes. `hint` is an element beside the body, or nothing.
pub(super) fn write_message(out: &mut Vec<u8>, to: &str, marker: Marker, hint: &str) {
    use std::io::Write as _;
    let Marker { sender, number, due } = marker;
    let start = out.len();
    // Writing to a vector does not fail.
    let _ = write!(
        out,
        "<message to='{to}' type='chat' id='u-{sender}-{number}'><body>|u|{sender}|{number}|{due}| "
    );
    let tail = format!("</body>{hint}</message>");
    let length = out.len().saturating_sub(start).saturating_add(tail.len());
    let filler = FILLER.get(..STANZA_BYTES.saturating_sub(length)).unwrap_or_default();
    out.extend_from_slice(filler.as_bytes());
    out.extend_from_slice(tail.as_bytes());
}

/// The marker in a stanza, also in one that is wrapped in another.
pub(super) fn find(stanza: &[u8]) -> Option<Marker> {
    let start = memmem::find(stanza, BEGIN)?.saturating_add(BEGIN.len());
    let mut fields = stanza.get(start..)?.splitn(4, |byte| *byte == b'|');
    let mut field = || std::str::from_utf8(fields.next()?).ok();
    Some(Marker {
        sender: field()?.parse().ok()?,
        number: field()?.parse().ok()?,
        due: field()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_message_of_the_load_is_found_again() {
        let marker = Marker { sender: 17, number: 123_456, due: 987_654_321 };
        for hint in ["", "<no-store xmlns='urn:xmpp:hints'/>"] {
            let mut out = Vec::new();
            write_message(&mut out, "user-1@xmpp.test", marker, hint);
            assert_eq!(out.len(), STANZA_BYTES);
            assert_eq!(find(&out), Some(marker));
            let wrapped = format!("<message><sent><forwarded>{}", std::str::from_utf8(&out).unwrap());
            assert_eq!(find(wrapped.as_bytes()), Some(marker));
        }
        for other in ["<message><body>hello</body></message>", "|u|1|2", "|u|1|x|3|"] {
            assert_eq!(find(other.as_bytes()), None, "{other}");
        }
    }
}
