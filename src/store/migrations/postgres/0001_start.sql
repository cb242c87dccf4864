-- Accounts. Numbers are never used twice: a deleted account's must not lead to a new one.
CREATE TABLE account (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    jid TEXT COLLATE "C" NOT NULL UNIQUE,
    state BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE credential (
    account BIGINT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    family TEXT COLLATE "C" NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (account, family)
);

-- Secrets of this server, as hexadecimal digits.
CREATE TABLE secret (
    name TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE roster (
    account BIGINT NOT NULL,
    jid TEXT COLLATE "C" NOT NULL,
    item TEXT NOT NULL,
    PRIMARY KEY (account, jid)
);

-- name is the hash of the key, which may be longer than an index takes.
CREATE TABLE document (
    account BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (account, kind, name)
);

CREATE TABLE device (
    id BIGINT PRIMARY KEY,
    account BIGINT NOT NULL,
    key TEXT NOT NULL,
    cursor BIGINT NOT NULL,
    pages_archive BIGINT NOT NULL,
    last_seen BIGINT NOT NULL
);
CREATE INDEX device_account ON device (account);

CREATE TABLE session (
    id BIGINT PRIMARY KEY,
    account BIGINT NOT NULL,
    device BIGINT NOT NULL,
    resource TEXT NOT NULL,
    handled BIGINT NOT NULL,
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
    id BIGINT PRIMARY KEY,
    sender BIGINT NOT NULL,
    sent_at BIGINT NOT NULL,
    recipient BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    flags BIGINT NOT NULL,
    sent_to BIGINT NOT NULL,
    received_from BIGINT NOT NULL,
    stanza BIGINT NOT NULL,
    fingerprint BIGINT NOT NULL,
    session BIGINT NOT NULL,
    handled BIGINT NOT NULL,
    record TEXT NOT NULL
);

-- All messages up to this one are indexed. While those up to `upto` are being indexed: of their entries
-- those up to (account, position) are done.
CREATE TABLE watermark (
    message BIGINT NOT NULL,
    upto BIGINT NOT NULL,
    account BIGINT NOT NULL,
    position BIGINT NOT NULL
);
INSERT INTO watermark (message, upto, account, position) VALUES (0, 0, 0, 0);

-- The index: the archived entries of each account. ordinal counts them without a gap.
CREATE TABLE log (
    account BIGINT NOT NULL,
    position BIGINT NOT NULL,
    message BIGINT NOT NULL,
    peer BIGINT NOT NULL,
    stanza BIGINT NOT NULL,
    fingerprint BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    PRIMARY KEY (account, position)
);
CREATE INDEX log_peer ON log (account, peer, position, message);
CREATE INDEX log_stanza ON log (account, stanza);

-- The index of entries that only wait for delivery.
CREATE TABLE waiting (
    account BIGINT NOT NULL,
    position BIGINT NOT NULL,
    message BIGINT NOT NULL,
    peer BIGINT NOT NULL,
    stanza BIGINT NOT NULL,
    fingerprint BIGINT NOT NULL,
    PRIMARY KEY (account, position)
);

-- delivered: waiting entries up to here are forgotten, whether or not they are gone. purged: the highest
-- position that was ever purged, so that none is given twice.
CREATE TABLE mark (
    account BIGINT PRIMARY KEY,
    delivered BIGINT NOT NULL,
    purged BIGINT NOT NULL DEFAULT 0
);
