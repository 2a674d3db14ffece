-- API keys. Of the secret itself, only the hash is here. Times are Unix seconds, with a fraction.
CREATE TABLE keys (
    -- Clients of the rate limit are named by it, so no key gets the number of another: hence AUTOINCREMENT.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- SHA-256 of the whole key. A fast hash is enough, because a key is random.
    key_sha256 BLOB NOT NULL CHECK (length(key_sha256) = 32),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^-A-Za-z0-9._]*'),
    owner TEXT NOT NULL CHECK (length(owner) BETWEEN 1 AND 64 AND owner NOT GLOB '*[^-A-Za-z0-9._@+]*'),
    -- Words with commas between them: create, manage, stats, admin. A release ignores those that it does not know.
    scopes TEXT NOT NULL,
    -- How many requests in how many milliseconds; NULL for the quota that every key has.
    quota_limit INTEGER CHECK (quota_limit BETWEEN 1 AND 1000000),
    quota_window_ms INTEGER CHECK (quota_window_ms BETWEEN 1 AND 31622400000),
    created_at REAL NOT NULL DEFAULT (unixepoch('subsec')),
    -- How long the key works after it was made or rotated; NULL: forever.
    life_seconds INTEGER CHECK (life_seconds > 0),
    expires_at REAL,
    revoked_at REAL,
    CHECK ((quota_limit IS NULL) = (quota_window_ms IS NULL))
) STRICT;

CREATE UNIQUE INDEX keys_key_sha256_key ON keys (key_sha256);

-- The name of a revoked key is free.
CREATE UNIQUE INDEX keys_name_key ON keys (name) WHERE revoked_at IS NULL;

-- Nodes remember which keys work, and look every second whether this number has grown. Then they must ask again. A new
-- key is not counted: nodes do not remember which keys do not work.
CREATE TABLE keys_changes (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
) STRICT;

INSERT INTO keys_changes (id, number) VALUES (1, 0);

CREATE TRIGGER keys_count_update AFTER UPDATE ON keys
BEGIN UPDATE keys_changes SET number = number + 1; END;

CREATE TRIGGER keys_count_delete AFTER DELETE ON keys
BEGIN UPDATE keys_changes SET number = number + 1; END;
