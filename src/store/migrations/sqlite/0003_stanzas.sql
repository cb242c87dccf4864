-- A retraction finds the messages with an id in one conversation without reading any other entry.
DROP INDEX log_stanza;
CREATE INDEX log_stanza ON log (account, stanza, peer, message);
CREATE INDEX waiting_stanza ON waiting (account, stanza, peer, message, position);
