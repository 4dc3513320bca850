-- Quarantines that were taken away and still hold messages, with the action by
-- which these leave.
CREATE TABLE retired (
	quarantine TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	action     TEXT COLLATE "C" NOT NULL
);
