-- An index for pieces of texts, as SQLite has it: see grams.go. Core arrays, so
-- that no extension is needed. Never updated: a row goes with its message.
CREATE TABLE search (
	rowid BIGINT    NOT NULL PRIMARY KEY, -- number of the message
	terms INTEGER[] NOT NULL
);
-- The list of what came last is brought into the index by the commit that fills
-- it: a shorter list is a shorter wait.
CREATE INDEX search_terms ON search USING gin (terms) WITH (gin_pending_list_limit = 1024);

-- Messages that are not yet in it: those of earlier versions.
CREATE TABLE pending (mid BIGINT NOT NULL PRIMARY KEY);
INSERT INTO pending (mid) SELECT mid FROM message;
