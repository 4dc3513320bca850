-- What is attached to messages: to be searched and listed.

ALTER TABLE message ADD COLUMN attached BIGINT NOT NULL DEFAULT -1; -- how many; -1: nobody has looked, -2: the content cannot be read
CREATE INDEX message_unseen ON message (mid) WHERE attached = -1 AND state NOT IN (3, 5); -- released, deleted

CREATE TABLE attachment (
	mid    BIGINT   NOT NULL,
	pos    SMALLINT NOT NULL,
	part   TEXT     NOT NULL, -- place in the message
	names  TEXT     NOT NULL, -- decoded, each reading on a line
	folded TEXT     NOT NULL, -- for comparison, each between line feeds
	types  TEXT     NOT NULL, -- each between line feeds
	size   BIGINT   NOT NULL, -- decoded
	PRIMARY KEY (mid, pos)
) WITHOUT ROWID;
