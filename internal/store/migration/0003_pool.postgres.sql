-- What the pool holds, in what order it is emptied, and how fast it fills.

-- The latest exit time of a held message, by which room is made.
ALTER TABLE message ADD COLUMN latest BIGINT NOT NULL DEFAULT 0;
UPDATE message SET latest = COALESCE((SELECT MAX(b.exit) FROM membership b WHERE b.mid = message.mid AND b.state = 0), 0) WHERE state = 0;
CREATE INDEX message_latest ON message (latest, size) WHERE state = 0;

-- Counters of all quarantines together stand beside those of each; no
-- quarantine can have such a name.
INSERT INTO tally (quarantine, messages, bytes, newest) SELECT '"pool', COUNT(*), COALESCE(SUM(size), 0), 0 FROM message WHERE state NOT IN (3, 5);
INSERT INTO tally (quarantine, messages, bytes, newest) SELECT '"bin', COUNT(*), COALESCE(SUM(size), 0), 0 FROM message WHERE state = 4;
INSERT INTO tally (quarantine, messages, bytes, newest) SELECT '"going', COUNT(*), COALESCE(SUM(size), 0), 0 FROM message WHERE state IN (1, 2);

-- What came in, by the hour; kept for the forecast.
CREATE TABLE arrival (
	hour     BIGINT NOT NULL PRIMARY KEY, -- hours since 1970
	messages BIGINT NOT NULL,
	bytes    BIGINT NOT NULL
);
INSERT INTO arrival (hour, messages, bytes) SELECT received / 3600000, COUNT(*), SUM(size) FROM message GROUP BY 1;
