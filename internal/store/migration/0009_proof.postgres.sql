-- What became of a release behind the gateway, and content that is kept until
-- that is proven.

ALTER TABLE release_recipient
	ADD COLUMN action       BIGINT NOT NULL DEFAULT 0,  -- number of the decision that it goes by
	ADD COLUMN asked        BIGINT NOT NULL DEFAULT 0,  -- when that was made
	ADD COLUMN taken        BIGINT NOT NULL DEFAULT 0,  -- by the gateway
	ADD COLUMN seq          BIGINT NOT NULL DEFAULT 0,  -- of the gateway's last report
	ADD COLUMN tried        BIGINT NOT NULL DEFAULT 0,  -- and what it said
	ADD COLUMN retry        BIGINT NOT NULL DEFAULT 0,
	ADD COLUMN tries        BIGINT NOT NULL DEFAULT 0,
	ADD COLUMN host         TEXT COLLATE "C" NOT NULL DEFAULT '',
	ADD COLUMN code         BIGINT NOT NULL DEFAULT 0,
	ADD COLUMN answer       TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE release_recipient SET asked = at, action = (SELECT m.actions FROM message m WHERE m.mid = release_recipient.mid) WHERE state <> 1;
CREATE INDEX message_sent ON message (changed) WHERE state = 8; -- taken by a gateway

-- What lists show includes what a gateway has taken.
DROP INDEX message_shown;
CREATE INDEX message_shown ON message (mid) WHERE state IN (0, 2, 3, 6, 7, 8);
