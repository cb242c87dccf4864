-- What gives a device access to its account, packed. It changes seldom, and the cursor of a device often.
CREATE TABLE access (
    device BIGINT PRIMARY KEY,
    value TEXT NOT NULL
);

-- passwords: how often the password was changed. What was let in by an earlier one is not any more.
ALTER TABLE account ADD COLUMN passwords BIGINT NOT NULL DEFAULT 0;
