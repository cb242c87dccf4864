//! Streaming XML: bytes in, stream events out. Knows no XMPP.
