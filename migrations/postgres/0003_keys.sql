-- API keys. Of the secret itself, only the hash is here.
CREATE TABLE keys (
    -- Clients of the rate limit are named by it, so no key gets the number of another.
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- SHA-256 of the whole key. A fast hash is enough, because a key is random.
    key_sha256 bytea NOT NULL CHECK (octet_length(key_sha256) = 32),
    name text COLLATE "C" NOT NULL CHECK (name ~ '^[A-Za-z0-9._-]{1,64}$'),
    owner text COLLATE "C" NOT NULL CHECK (owner ~ '^[A-Za-z0-9._@+-]{1,64}$'),
    -- Words with commas between them: create, manage, stats, admin. A release ignores those that it does not know.
    scopes text NOT NULL,
    -- How many requests in how many milliseconds; NULL for the quota that every key has.
    quota_limit bigint CHECK (quota_limit BETWEEN 1 AND 1000000),
    quota_window_ms bigint CHECK (quota_window_ms BETWEEN 1 AND 31622400000),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- How long the key works after it was made or rotated; NULL: forever.
    life_seconds bigint CHECK (life_seconds > 0),
    expires_at timestamptz,
    revoked_at timestamptz,
    CHECK ((quota_limit IS NULL) = (quota_window_ms IS NULL))
);

CREATE UNIQUE INDEX keys_key_sha256_key ON keys (key_sha256);

-- The name of a revoked key is free.
CREATE UNIQUE INDEX keys_name_key ON keys (name) WHERE revoked_at IS NULL;

-- Nodes remember which keys work, and listen on the channel `shunt_keys` for changes after which they must ask again. A
-- new key is not announced: nodes do not remember which keys do not work.
CREATE FUNCTION keys_announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('shunt_keys', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER keys_announce AFTER UPDATE OR DELETE OR TRUNCATE ON keys
    FOR EACH STATEMENT EXECUTE FUNCTION keys_announce();
