-- heard: how many entries of the conversation before this one somebody else wrote to be read. What was recorded before this
-- schema counts as read.
ALTER TABLE log ADD COLUMN heard INTEGER NOT NULL DEFAULT 0;
DROP INDEX log_peer;
CREATE INDEX log_peer ON log (account, peer, position, message, heard);

-- Where the conversations of each account end: position and message of the last entry; heard counts as in the log, this
-- entry included; unanswered is what came of that since the account last said something; spoken is the last message
-- that said something (0: none). All messages up to `upto` are in it, maybe more than are indexed.
CREATE TABLE conversation (
    account INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    position INTEGER NOT NULL,
    message INTEGER NOT NULL,
    heard INTEGER NOT NULL,
    unanswered INTEGER NOT NULL,
    spoken INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    PRIMARY KEY (account, peer)
) WITHOUT ROWID;
INSERT INTO conversation (account, peer, position, message, heard, unanswered, spoken, upto)
SELECT log.account, log.peer, log.position, log.message, 0, 0, log.message, (SELECT message FROM watermark)
FROM log JOIN (SELECT account, peer, max(position) AS position FROM log GROUP BY account, peer) AS newest
ON log.account = newest.account AND log.position = newest.position;

-- How far the owner of an account has read a conversation.
CREATE TABLE displayed (
    account INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (account, peer)
) WITHOUT ROWID;
