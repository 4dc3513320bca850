-- What scanning a released message again at its gateway gave, in words: a step
-- of its own, and not part of what a server answered.
ALTER TABLE release_recipient ADD COLUMN rescanned TEXT NOT NULL DEFAULT '';
