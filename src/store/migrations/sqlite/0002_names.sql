-- likeness is the hash of what a name looks like; 0 until it has been looked at.
ALTER TABLE account ADD COLUMN likeness INTEGER NOT NULL DEFAULT 0;
CREATE INDEX account_likeness ON account (likeness);

-- In its one row, with which tables of Unicode the names of accounts were read last.
CREATE TABLE unicode (
    tables TEXT PRIMARY KEY
) WITHOUT ROWID;
