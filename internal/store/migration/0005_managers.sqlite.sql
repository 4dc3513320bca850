-- Which manager carries out a release. Only one can work on a file: it needs no
-- name.
ALTER TABLE intent ADD COLUMN owner TEXT NOT NULL DEFAULT '';
