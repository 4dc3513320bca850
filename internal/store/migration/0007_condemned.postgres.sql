-- No two contents have the same object, and an object that is about to be swept
-- has a row of its own: no message can come to have it. Such a row has its name
-- as hash, which is not 32 bytes and so is nobody's, and no references.
CREATE UNIQUE INDEX content_object ON content (object);
