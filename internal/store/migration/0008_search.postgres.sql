-- What a search needs besides the records.

-- The addresses as people write them, folded, where that is another text.
ALTER TABLE message ADD COLUMN sender_u     TEXT NOT NULL DEFAULT '';
ALTER TABLE message ADD COLUMN recipients_u TEXT NOT NULL DEFAULT '';

-- Which numbers came in in each hour since 1970: a date range as a range of numbers.
CREATE TABLE span (
	hour BIGINT NOT NULL PRIMARY KEY,
	lo   BIGINT NOT NULL,
	hi   BIGINT NOT NULL
);
INSERT INTO span (hour, lo, hi) SELECT received / 3600000, MIN(mid), MAX(mid) FROM message GROUP BY 1;

-- What lists show by default, so that a page costs the same whatever was deleted.
CREATE INDEX message_shown ON message (mid) WHERE state IN (0, 2, 3, 6, 7);
