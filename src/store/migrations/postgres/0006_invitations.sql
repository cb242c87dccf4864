-- Invitations that were not used yet (XEP-0401). An empty text means none. likeness: the hash of what account looks like.
CREATE TABLE invitation (
    token TEXT COLLATE "C" PRIMARY KEY,
    domain TEXT NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    likeness BIGINT NOT NULL,
    inviter TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX invitation_account ON invitation (account);
CREATE INDEX invitation_likeness ON invitation (likeness);
CREATE INDEX invitation_inviter ON invitation (inviter, token);

-- What users reported to the administrator (XEP-0377).
CREATE TABLE report (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    reporter TEXT COLLATE "C" NOT NULL,
    about TEXT NOT NULL,
    content TEXT NOT NULL
);
CREATE INDEX report_reporter ON report (reporter);
