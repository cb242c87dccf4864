//! XMPP itself.
