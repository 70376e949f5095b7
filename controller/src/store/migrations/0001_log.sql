-- Every write of every transaction; a null value is a deletion.
CREATE TABLE log (
    revision INTEGER NOT NULL,
    key TEXT NOT NULL,
    value BLOB,
    created INTEGER NOT NULL,
    lease INTEGER,
    PRIMARY KEY (revision, key)
) STRICT;
CREATE INDEX log_by_key ON log (key, revision);
CREATE INDEX log_by_lease ON log (lease) WHERE lease IS NOT NULL;

-- The revision of each key's newest value.
CREATE TABLE current (
    key TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How long each lease lasts after it was kept alive.
CREATE TABLE lease (
    id INTEGER NOT NULL PRIMARY KEY,
    ttl_ms INTEGER NOT NULL
) STRICT;

-- `newest` is the store's revision, `oldest` the first that can be listed, `lease` the last lease's id.
CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter VALUES ('newest', 0), ('oldest', 0), ('lease', 0);
