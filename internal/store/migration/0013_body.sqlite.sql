-- The text of messages, as far as it can be searched: off unless somebody asks
-- for it. A row goes with the content.
CREATE TABLE body (
	mid    INTEGER NOT NULL PRIMARY KEY,
	folded TEXT    NOT NULL -- for comparison
);
