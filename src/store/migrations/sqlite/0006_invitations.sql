-- Invitations that were not used yet (XEP-0401). An empty text means none. likeness: the hash of what account looks like.
CREATE TABLE invitation (
    token TEXT PRIMARY KEY,
    domain TEXT NOT NULL,
    account TEXT NOT NULL,
    likeness INTEGER NOT NULL,
    inviter TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX invitation_account ON invitation (account);
CREATE INDEX invitation_likeness ON invitation (likeness);
CREATE INDEX invitation_inviter ON invitation (inviter, token);

-- What users reported to the administrator (XEP-0377).
CREATE TABLE report (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    reporter TEXT NOT NULL,
    about TEXT NOT NULL,
    content TEXT NOT NULL
);
CREATE INDEX report_reporter ON report (reporter);
