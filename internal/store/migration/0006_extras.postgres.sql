-- What is done to a message that left a quarantine before its time: JSON, empty for nothing.

ALTER TABLE membership ADD COLUMN extras TEXT COLLATE "C" NOT NULL DEFAULT '';
