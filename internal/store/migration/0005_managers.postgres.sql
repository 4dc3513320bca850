-- Several managers on one database.

-- Which of them carries out a release.
ALTER TABLE intent ADD COLUMN owner TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX intent_owner ON intent (owner, mid);

-- One row a manager. It changes with every batch that the manager writes.
CREATE TABLE manager (
	name     TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- its serial number
	life     TEXT COLLATE "C" NOT NULL,             -- which of its processes
	until    BIGINT           NOT NULL,             -- alive until then at least, by the server's clock
	batch    BIGINT           NOT NULL,             -- number of the last one committed in this life
	settings TEXT COLLATE "C" NOT NULL DEFAULT ''   -- digest of its quarantines
) WITH (fillfactor = 20);

-- What one of them does at a time, and until when it may.
CREATE TABLE turn (
	name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	owner TEXT COLLATE "C" NOT NULL,
	until BIGINT           NOT NULL
) WITH (fillfactor = 20);
