-- An index for pieces of texts. It is written some moments behind the records;
-- what is not in it yet is looked at one by one.

-- The addresses as people write them, folded, where that is another text.
ALTER TABLE message ADD COLUMN sender_u     TEXT NOT NULL DEFAULT '';
ALTER TABLE message ADD COLUMN recipients_u TEXT NOT NULL DEFAULT '';

-- One row a message that is indexed, by its number.
CREATE VIRTUAL TABLE search USING fts5(terms, content='', contentless_delete=1, detail=none, tokenize='ascii');

-- Messages that are not yet in it.
CREATE TABLE pending (mid INTEGER NOT NULL PRIMARY KEY);
INSERT INTO pending (mid) SELECT mid FROM message;

-- Which numbers came in in each hour since 1970: a date range as a range of numbers.
CREATE TABLE span (
	hour BIGINT NOT NULL PRIMARY KEY,
	lo   BIGINT NOT NULL,
	hi   BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO span (hour, lo, hi) SELECT received / 3600000, MIN(mid), MAX(mid) FROM message GROUP BY 1;

-- What lists show by default, so that a page costs the same whatever was deleted.
CREATE INDEX message_shown ON message (mid) WHERE state IN (0, 2, 3, 6, 7);
