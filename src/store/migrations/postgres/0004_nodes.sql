-- The items of nodes (XEP-0060). node and name are the hashes of the node's name and of the item's id, which may be longer
-- than an index takes. The payload is last, so that what is read without it is found without it.
CREATE TABLE item (
    account BIGINT NOT NULL,
    node BIGINT NOT NULL,
    name BIGINT NOT NULL,
    position BIGINT NOT NULL,
    id TEXT NOT NULL,
    publisher TEXT,
    payload TEXT NOT NULL,
    PRIMARY KEY (account, node, name)
);
CREATE INDEX item_position ON item (account, node, position);

-- published: the highest position that was ever given to an item of the account, so that none is given twice.
ALTER TABLE mark ADD COLUMN published BIGINT NOT NULL DEFAULT 0;
