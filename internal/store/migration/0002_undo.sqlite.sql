-- Decisions that can be taken back, and legal holds.

ALTER TABLE message ADD COLUMN until    BIGINT NOT NULL DEFAULT 0;  -- leaving, binned: it is carried out then
ALTER TABLE message ADD COLUMN decision BIGINT NOT NULL DEFAULT 0;  -- that made it so
ALTER TABLE message ADD COLUMN hold_at  BIGINT NOT NULL DEFAULT 0;  -- 0: not on hold
ALTER TABLE message ADD COLUMN hold_by  TEXT   NOT NULL DEFAULT '';
ALTER TABLE message ADD COLUMN hold_why TEXT   NOT NULL DEFAULT '';
CREATE INDEX message_until ON message (until) WHERE state IN (1, 4); -- leaving, binned

ALTER TABLE membership ADD COLUMN decision BIGINT NOT NULL DEFAULT 0; -- by which it left
CREATE INDEX membership_decision ON membership (decision) WHERE decision > 0;

-- What somebody decided by hand about one or many messages.
CREATE TABLE decision (
	id         INTEGER NOT NULL PRIMARY KEY,
	action     TEXT    NOT NULL,
	quarantine TEXT    NOT NULL, -- empty: all
	actor      TEXT    NOT NULL,
	origin     TEXT    NOT NULL,
	at         BIGINT  NOT NULL
);
CREATE INDEX decision_at ON decision (at);
