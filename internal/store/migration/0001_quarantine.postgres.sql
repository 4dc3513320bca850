-- The quarantine of one or several appliances. Times are milliseconds since
-- 1970, UTC. The counterpart of each SQLite migration of the same number.
-- Texts are compared byte by byte, as SQLite does.

-- Small state: counters, marks.
CREATE TABLE meta (
	name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	value BYTEA            NOT NULL
);

-- One row a content, kept once however many messages have it. The row goes with
-- the last of them; only then may the object go.
CREATE TABLE content (
	hash   BYTEA            NOT NULL PRIMARY KEY,
	object TEXT COLLATE "C" NOT NULL,
	size   BIGINT           NOT NULL,
	refs   BIGINT           NOT NULL
);

-- One row a message.
CREATE TABLE message (
	mid          BIGINT           NOT NULL PRIMARY KEY,
	key          TEXT COLLATE "C" NOT NULL UNIQUE,
	gateway      TEXT COLLATE "C" NOT NULL,
	gateway_name TEXT COLLATE "C" NOT NULL,
	gateway_mid  BIGINT           NOT NULL,
	hash         BYTEA            NOT NULL,
	size         BIGINT           NOT NULL,
	sender       TEXT COLLATE "C" NOT NULL,
	recipients   TEXT COLLATE "C" NOT NULL, -- each between line feeds
	subject      TEXT COLLATE "C" NOT NULL, -- raw
	display      TEXT COLLATE "C" NOT NULL, -- decoded
	folded       TEXT COLLATE "C" NOT NULL, -- decoded, for comparison
	message_id   TEXT COLLATE "C" NOT NULL,
	detail       TEXT COLLATE "C" NOT NULL, -- JSON: what nobody searches
	accepted     BIGINT           NOT NULL,
	received     BIGINT           NOT NULL,
	changed      BIGINT           NOT NULL,
	state        SMALLINT         NOT NULL,
	version      BIGINT           NOT NULL,
	actions      BIGINT           NOT NULL
);
CREATE INDEX message_gateway_mid ON message (gateway_mid);
CREATE INDEX message_finished ON message (changed) WHERE state IN (3, 5); -- released, deleted

-- One row for each quarantine that a message is or was in.
CREATE TABLE membership (
	mid        BIGINT           NOT NULL,
	pos        SMALLINT         NOT NULL,
	quarantine TEXT COLLATE "C" NOT NULL,
	reason     TEXT COLLATE "C" NOT NULL,
	state      SMALLINT         NOT NULL,
	entered    BIGINT           NOT NULL,
	exit       BIGINT           NOT NULL,
	gone       BIGINT           NOT NULL, -- 0 while held
	cause      TEXT COLLATE "C" NOT NULL,
	actor      TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (mid, pos)
);
CREATE UNIQUE INDEX membership_quarantine ON membership (quarantine, mid);
CREATE INDEX membership_due ON membership (exit) WHERE state = 0; -- held

-- What each quarantine holds, kept with each change: counting a million rows
-- takes too long for a list. These few rows change with every batch: room is
-- left for their new versions.
CREATE TABLE tally (
	quarantine TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	messages   BIGINT           NOT NULL,
	bytes      BIGINT           NOT NULL,
	newest     BIGINT           NOT NULL
) WITH (fillfactor = 20);

-- A release decision that is being carried out. The row goes when it is over.
CREATE TABLE intent (
	mid    BIGINT           NOT NULL PRIMARY KEY,
	action TEXT COLLATE "C" NOT NULL UNIQUE,
	cause  TEXT COLLATE "C" NOT NULL,
	actor  TEXT COLLATE "C" NOT NULL,
	at     BIGINT           NOT NULL,
	qstate SMALLINT         NOT NULL, -- of the message in the queue
	tries  BIGINT           NOT NULL
);

-- How far the last release decision is, one row a recipient of the message.
CREATE TABLE release_recipient (
	mid      BIGINT           NOT NULL,
	rid      BIGINT           NOT NULL,
	address  TEXT COLLATE "C" NOT NULL,
	state    SMALLINT         NOT NULL,
	reply    TEXT COLLATE "C" NOT NULL,
	remote   BIGINT           NOT NULL, -- number at the gateway, 0 until taken
	at       BIGINT           NOT NULL,
	qstate   SMALLINT         NOT NULL, -- of the recipient in the queue
	attempts BIGINT           NOT NULL,
	next     BIGINT           NOT NULL,
	PRIMARY KEY (mid, rid)
);

-- Keys of messages whose records are forgotten.
CREATE TABLE known (
	key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	mid BIGINT           NOT NULL,
	at  BIGINT           NOT NULL
);
CREATE INDEX known_at ON known (at);
