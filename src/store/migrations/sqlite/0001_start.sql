-- Accounts. Numbers are never used twice: a deleted account's must not lead to a new one.
CREATE TABLE account (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    jid TEXT NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE credential (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    family TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (account, family)
) WITHOUT ROWID;

-- Secrets of this server, as hexadecimal digits.
CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE roster (
    account INTEGER NOT NULL,
    jid TEXT NOT NULL,
    item TEXT NOT NULL,
    PRIMARY KEY (account, jid)
) WITHOUT ROWID;

-- name is the hash of the key, which may be longer than an index takes.
CREATE TABLE document (
    account INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (account, kind, name)
);

CREATE TABLE device (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    key TEXT NOT NULL,
    cursor INTEGER NOT NULL,
    pages_archive INTEGER NOT NULL,
    last_seen INTEGER NOT NULL
);
CREATE INDEX device_account ON device (account);

CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    device INTEGER NOT NULL,
    resource TEXT NOT NULL,
    handled INTEGER NOT NULL,
    snapshot TEXT
);
CREATE INDEX session_account ON session (account);
CREATE INDEX session_device ON session (device);
CREATE INDEX session_saved ON session (account) WHERE snapshot IS NOT NULL;

-- Messages, appended. What is a column here is what the index is made of; the rest is in the record.
-- sender and recipient are the accounts with an entry (0: none), sent_at and received_at its position.
-- flags: 1 the sender's entry only waits for delivery, 2 so does the recipient's, 4 the recipient sent it.
-- sent_to, received_from, stanza: hashes of the other party's bare address and of the stanza's id.
-- session, handled: the session that sent it, and how many stanzas it had sent with this one.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    sender INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    recipient INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    sent_to INTEGER NOT NULL,
    received_from INTEGER NOT NULL,
    stanza INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    session INTEGER NOT NULL,
    handled INTEGER NOT NULL,
    record TEXT NOT NULL
);

-- All messages up to this one are indexed. While those up to `upto` are being indexed: of their entries
-- those up to (account, position) are done.
CREATE TABLE watermark (
    message INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    account INTEGER NOT NULL,
    position INTEGER NOT NULL
);
INSERT INTO watermark (message, upto, account, position) VALUES (0, 0, 0, 0);

-- The index: the archived entries of each account. ordinal counts them without a gap.
CREATE TABLE log (
    account INTEGER NOT NULL,
    position INTEGER NOT NULL,
    message INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    stanza INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (account, position)
) WITHOUT ROWID;
CREATE INDEX log_peer ON log (account, peer, position, message);
CREATE INDEX log_stanza ON log (account, stanza);

-- The index of entries that only wait for delivery.
CREATE TABLE waiting (
    account INTEGER NOT NULL,
    position INTEGER NOT NULL,
    message INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    stanza INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    PRIMARY KEY (account, position)
) WITHOUT ROWID;

-- delivered: waiting entries up to here are forgotten, whether or not they are gone. purged: the highest
-- position that was ever purged, so that none is given twice.
CREATE TABLE mark (
    account INTEGER PRIMARY KEY,
    delivered INTEGER NOT NULL,
    purged INTEGER NOT NULL DEFAULT 0
);
