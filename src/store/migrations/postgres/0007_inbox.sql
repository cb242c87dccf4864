-- heard: how many entries of the conversation before this one somebody else wrote to be read. What was recorded before this
-- schema counts as read.
ALTER TABLE log ADD COLUMN heard BIGINT NOT NULL DEFAULT 0;
DROP INDEX log_peer;
CREATE INDEX log_peer ON log (account, peer, position, message, heard);

-- Where the conversations of each account end: position and message of the last entry; heard counts as in the log, this
-- entry included; unanswered is what came of that since the account last said something; spoken is the last message
-- that said something (0: none). All messages up to `upto` are in it, maybe more than are indexed.
CREATE TABLE conversation (
    account BIGINT NOT NULL,
    peer BIGINT NOT NULL,
    position BIGINT NOT NULL,
    message BIGINT NOT NULL,
    heard BIGINT NOT NULL,
    unanswered BIGINT NOT NULL,
    spoken BIGINT NOT NULL,
    upto BIGINT NOT NULL,
    PRIMARY KEY (account, peer)
);
INSERT INTO conversation (account, peer, position, message, heard, unanswered, spoken, upto)
SELECT log.account, log.peer, log.position, log.message, 0, 0, log.message, (SELECT message FROM watermark)
FROM log JOIN (SELECT account, peer, max(position) AS position FROM log GROUP BY account, peer) AS newest
ON log.account = newest.account AND log.position = newest.position;

-- How far the owner of an account has read a conversation.
CREATE TABLE displayed (
    account BIGINT NOT NULL,
    peer BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (account, peer)
);
