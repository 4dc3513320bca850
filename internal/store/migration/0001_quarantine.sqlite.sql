-- The quarantine of one appliance. Times are milliseconds since 1970, UTC.
-- Types and statements keep to what PostgreSQL has too, but for WITHOUT ROWID.

-- Small state of the appliance: counters, marks.
CREATE TABLE meta (
	name  TEXT   NOT NULL PRIMARY KEY,
	value BLOB   NOT NULL
) WITHOUT ROWID;

-- One row a content, kept once however many messages have it. The row goes with
-- the last of them; only then may the object go.
CREATE TABLE content (
	hash   BLOB   NOT NULL PRIMARY KEY,
	object TEXT   NOT NULL,
	size   BIGINT NOT NULL,
	refs   BIGINT NOT NULL
) WITHOUT ROWID;

-- One row a message, in the order of arrival.
CREATE TABLE message (
	mid          INTEGER  NOT NULL PRIMARY KEY,
	key          TEXT     NOT NULL UNIQUE,
	gateway      TEXT     NOT NULL,
	gateway_name TEXT     NOT NULL,
	gateway_mid  BIGINT   NOT NULL,
	hash         BLOB     NOT NULL,
	size         BIGINT   NOT NULL,
	sender       TEXT     NOT NULL,
	recipients   TEXT     NOT NULL, -- each between line feeds
	subject      TEXT     NOT NULL, -- raw
	display      TEXT     NOT NULL, -- decoded
	folded       TEXT     NOT NULL, -- decoded, for comparison
	message_id   TEXT     NOT NULL,
	detail       TEXT     NOT NULL, -- JSON: what nobody searches
	accepted     BIGINT   NOT NULL,
	received     BIGINT   NOT NULL,
	changed      BIGINT   NOT NULL,
	state        SMALLINT NOT NULL,
	version      BIGINT   NOT NULL,
	actions      BIGINT   NOT NULL
);
CREATE INDEX message_gateway_mid ON message (gateway_mid);
CREATE INDEX message_finished ON message (changed) WHERE state IN (3, 5); -- released, deleted

-- One row for each quarantine that a message is or was in.
CREATE TABLE membership (
	mid        BIGINT   NOT NULL,
	pos        SMALLINT NOT NULL,
	quarantine TEXT     NOT NULL,
	reason     TEXT     NOT NULL,
	state      SMALLINT NOT NULL,
	entered    BIGINT   NOT NULL,
	exit       BIGINT   NOT NULL,
	gone       BIGINT   NOT NULL, -- 0 while held
	cause      TEXT     NOT NULL,
	actor      TEXT     NOT NULL,
	PRIMARY KEY (mid, pos)
) WITHOUT ROWID;
CREATE UNIQUE INDEX membership_quarantine ON membership (quarantine, mid);
CREATE INDEX membership_due ON membership (exit) WHERE state = 0; -- held

-- What each quarantine holds, kept with each change: counting a million rows
-- takes too long for a list.
CREATE TABLE tally (
	quarantine TEXT   NOT NULL PRIMARY KEY,
	messages   BIGINT NOT NULL,
	bytes      BIGINT NOT NULL,
	newest     BIGINT NOT NULL
) WITHOUT ROWID;

-- A release decision that is being carried out. The row goes when it is over.
CREATE TABLE intent (
	mid    BIGINT   NOT NULL PRIMARY KEY,
	action TEXT     NOT NULL UNIQUE,
	cause  TEXT     NOT NULL,
	actor  TEXT     NOT NULL,
	at     BIGINT   NOT NULL,
	qstate SMALLINT NOT NULL, -- of the message in the queue
	tries  BIGINT   NOT NULL
);

-- How far the last release decision is, one row a recipient of the message.
CREATE TABLE release_recipient (
	mid      BIGINT   NOT NULL,
	rid      BIGINT   NOT NULL,
	address  TEXT     NOT NULL,
	state    SMALLINT NOT NULL,
	reply    TEXT     NOT NULL,
	remote   BIGINT   NOT NULL, -- number at the gateway, 0 until taken
	at       BIGINT   NOT NULL,
	qstate   SMALLINT NOT NULL, -- of the recipient in the queue
	attempts BIGINT   NOT NULL,
	next     BIGINT   NOT NULL,
	PRIMARY KEY (mid, rid)
) WITHOUT ROWID;

-- Keys of messages whose records are forgotten.
CREATE TABLE known (
	key TEXT   NOT NULL PRIMARY KEY,
	mid BIGINT NOT NULL,
	at  BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX known_at ON known (at);
