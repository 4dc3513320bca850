-- What rules found in a message that led into this quarantine: JSON, empty for nothing.

ALTER TABLE membership ADD COLUMN matched TEXT NOT NULL DEFAULT '';
