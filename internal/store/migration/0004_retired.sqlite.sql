-- Quarantines that were taken away and still hold messages, with the action by
-- which these leave.
CREATE TABLE retired (
	quarantine TEXT NOT NULL PRIMARY KEY,
	action     TEXT NOT NULL
) WITHOUT ROWID;
