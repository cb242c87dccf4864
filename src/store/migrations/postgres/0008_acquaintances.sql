-- Whoever is removed is looked for in the rosters of others.
CREATE INDEX roster_jid ON roster (jid);

-- Who asked for an invitation, which may be to an account alone. An empty text means the administrator.
ALTER TABLE invitation ADD COLUMN maker TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE invitation SET maker = inviter;
CREATE INDEX invitation_maker ON invitation (maker, token);
