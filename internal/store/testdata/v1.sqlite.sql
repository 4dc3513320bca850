PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE schema_version (
		version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, sum TEXT NOT NULL, at BIGINT NOT NULL);
INSERT INTO schema_version VALUES(1,'quarantine','dbde9c7cd84efd6a0143c26d1d6ffdce02a03d1fc54094ff3216b1d0c855d98e',1795521600123);
CREATE TABLE meta (
	name  TEXT   NOT NULL PRIMARY KEY,
	value BLOB   NOT NULL
) WITHOUT ROWID;
INSERT INTO meta VALUES('mid',X'0000000000000003');
CREATE TABLE content (
	hash   BLOB   NOT NULL PRIMARY KEY,
	object TEXT   NOT NULL,
	size   BIGINT NOT NULL,
	refs   BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO content VALUES(X'c20dea4d876b5b8fb0a1814b43017030cea6d4ac30b2d9ae71b404d2faba49b5','object-1',4,1);
INSERT INTO content VALUES(X'd29eae1372c396247daf62745d10c3513eb46f9f232b4527e0f5298e5dca5cd0','object-2',8,1);
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
INSERT INTO message VALUES(1,'A1B2C3D4E5-5001-c20dea4d876b5b8f','A1B2C3D4E5','gw1.example.com',5001,X'c20dea4d876b5b8fb0a1814b43017030cea6d4ac30b2d9ae71b404d2faba49b5',4,'Sender1@example.net',replace('\nb@example.org\n"c d"@[192.0.2.9]\n','\n',char(10)),'=?utf-8?q?Gr=C3=BC=C3=9Fe?=','Grüße 1','grüße 1','<x@y>','{"eightbit":true,"policy":"DEFAULT","direction":"inbound","prepend":"UmVjZWl2ZWQ6IHgNCg==","origin":{"icid":7,"listener":"","interface":"","remote_ip":"192.0.2.1","remote_host":"","helo":"h","protocol":"","sender_group":"","policy":"","relay":false}}',1795521600123,1795521601123,1795521601123,0,1,0);
INSERT INTO message VALUES(2,'A1B2C3D4E5-5002-d29eae1372c39624','A1B2C3D4E5','gw1.example.com',5002,X'd29eae1372c396247daf62745d10c3513eb46f9f232b4527e0f5298e5dca5cd0',8,'Sender2@example.net',replace('\nb@example.org\n"c d"@[192.0.2.9]\n','\n',char(10)),'=?utf-8?q?Gr=C3=BC=C3=9Fe?=','Grüße 2','grüße 2','<x@y>','{"eightbit":true,"policy":"DEFAULT","direction":"inbound","prepend":"UmVjZWl2ZWQ6IHgNCg==","origin":{"icid":7,"listener":"","interface":"","remote_ip":"192.0.2.1","remote_host":"","helo":"h","protocol":"","sender_group":"","policy":"","relay":false}}',1795521601123,1795521602123,1795521600123,2,2,1);
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
INSERT INTO membership VALUES(1,0,'Policy','message filter:x',0,1795521601123,1795525201123,0,'','');
INSERT INTO membership VALUES(1,1,'Virus','message filter:x',0,1795521601123,1795528801123,0,'','');
INSERT INTO membership VALUES(2,0,'Policy','message filter:x',1,1795521602123,1795525202123,1795521600123,'manual','alice');
CREATE TABLE tally (
	quarantine TEXT   NOT NULL PRIMARY KEY,
	messages   BIGINT NOT NULL,
	bytes      BIGINT NOT NULL,
	newest     BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO tally VALUES('Policy',1,4,1795521602123);
INSERT INTO tally VALUES('Virus',1,4,1795521601123);
CREATE TABLE intent (
	mid    BIGINT   NOT NULL PRIMARY KEY,
	action TEXT     NOT NULL UNIQUE,
	cause  TEXT     NOT NULL,
	actor  TEXT     NOT NULL,
	at     BIGINT   NOT NULL,
	qstate SMALLINT NOT NULL, -- of the message in the queue
	tries  BIGINT   NOT NULL
);
INSERT INTO intent VALUES(2,'A1B2C3D4E5-5002-d29eae1372c39624-1','manual','alice',1795521600123,1,0);
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
INSERT INTO release_recipient VALUES(2,0,'b@example.org',0,'',0,1795521600123,0,0,0);
INSERT INTO release_recipient VALUES(2,1,'"c d"@[192.0.2.9]',0,'',0,1795521600123,0,0,0);
CREATE TABLE known (
	key TEXT   NOT NULL PRIMARY KEY,
	mid BIGINT NOT NULL,
	at  BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX message_gateway_mid ON message (gateway_mid);
CREATE INDEX message_finished ON message (changed) WHERE state IN (3, 5);
CREATE UNIQUE INDEX membership_quarantine ON membership (quarantine, mid);
CREATE INDEX membership_due ON membership (exit) WHERE state = 0;
CREATE INDEX known_at ON known (at);
COMMIT;
