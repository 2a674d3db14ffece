-- Codes and URLs are compared byte by byte (collation "C"): `ab` and `AB` are two codes, and
-- neither sorting rules nor their upgrades can damage the index.
CREATE TABLE urls (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    short_code text COLLATE "C" NOT NULL,
    original_url text COLLATE "C" NOT NULL,
    -- SHA-256 of original_url for links that everybody who shortens that URL shares; NULL for links with
    -- an alias, an expiry or a number of visits of their own.
    url_sha256 bytea CHECK (octet_length(url_sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    max_visits integer CHECK (max_visits > 0),
    visits integer NOT NULL DEFAULT 0
);

CREATE UNIQUE INDEX urls_short_code_key ON urls (short_code);

-- A b-tree on the URL itself fails above 2704 bytes.
CREATE UNIQUE INDEX urls_url_sha256_key ON urls (url_sha256);
