-- Times are Unix seconds, with a fraction.
CREATE TABLE urls (
    id INTEGER PRIMARY KEY,
    short_code TEXT NOT NULL,
    original_url TEXT NOT NULL,
    -- SHA-256 of original_url for links that everybody who shortens that URL shares; NULL for links with
    -- an alias, an expiry or a number of visits of their own.
    url_sha256 BLOB CHECK (length(url_sha256) = 32),
    created_at REAL NOT NULL DEFAULT (unixepoch('subsec')),
    expires_at REAL,
    max_visits INTEGER CHECK (max_visits > 0),
    visits INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX urls_short_code_key ON urls (short_code);

CREATE UNIQUE INDEX urls_url_sha256_key ON urls (url_sha256);
