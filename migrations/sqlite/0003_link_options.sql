-- What a link can have beside its target, an expiry and a number of visits. All of it is optional, so a link without
-- options costs what it has cost before.
--
-- A release before this one may still open this file. It knows none of these columns, and must not open a link that has
-- a password, that is disabled or deleted, that has not started, or that is a further code of another link. Such a link
-- is hidden from it: `expires_at` is 0, which that release takes for an expiry that has passed, and the real expiry
-- stands in `ends_at`. Triggers do this, so that nobody who writes to the table has to know.

-- Who may change the link; NULL: only administrators.
ALTER TABLE urls ADD COLUMN owner TEXT;
-- This row is a further code of that link, and nothing else.
ALTER TABLE urls ADD COLUMN main_id INTEGER REFERENCES urls ON DELETE CASCADE CHECK (main_id <> id);
ALTER TABLE urls ADD COLUMN starts_at REAL;
ALTER TABLE urls ADD COLUMN enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1));
ALTER TABLE urls ADD COLUMN deleted_at REAL;
ALTER TABLE urls ADD COLUMN password_hash TEXT;
-- The status of the redirect; NULL: 302.
ALTER TABLE urls ADD COLUMN redirect INTEGER CHECK (redirect IN (301, 302, 303, 307, 308));
ALTER TABLE urls ADD COLUMN forward_query INTEGER NOT NULL DEFAULT 0 CHECK (forward_query IN (0, 1));
-- Where the link leads once it has expired or is used up.
ALTER TABLE urls ADD COLUMN fallback_url TEXT;
ALTER TABLE urls ADD COLUMN title TEXT;
ALTER TABLE urls ADD COLUMN note TEXT;
-- A JSON array.
ALTER TABLE urls ADD COLUMN tags TEXT CHECK (tags IS NULL OR json_valid(tags));
ALTER TABLE urls ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1));
ALTER TABLE urls ADD COLUMN ends_at REAL;

CREATE INDEX urls_main_id_idx ON urls (main_id) WHERE main_id IS NOT NULL;

-- The tags again, one row for each, to be found by. Triggers copy them.
CREATE TABLE taggings (
    link_id INTEGER NOT NULL REFERENCES urls ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (link_id, tag)
) STRICT, WITHOUT ROWID;

CREATE INDEX taggings_tag_idx ON taggings (tag, link_id);

CREATE TRIGGER urls_copy_tags_insert AFTER INSERT ON urls WHEN NEW.tags IS NOT NULL
BEGIN
    INSERT INTO taggings SELECT NEW.id, value FROM json_each(NEW.tags) WHERE true ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER urls_copy_tags_update AFTER UPDATE OF tags ON urls WHEN NEW.tags IS NOT OLD.tags
BEGIN
    DELETE FROM taggings WHERE link_id = NEW.id;
    INSERT INTO taggings SELECT NEW.id, value FROM json_each(NEW.tags) WHERE true ON CONFLICT DO NOTHING;
END;

-- The sqlite3 shell does not heed foreign keys by default, and the number of a deleted link may be another link's next.
CREATE TRIGGER urls_delete AFTER DELETE ON urls
BEGIN
    DELETE FROM taggings WHERE link_id = OLD.id OR link_id IN (SELECT id FROM urls WHERE main_id = OLD.id);
    DELETE FROM urls WHERE main_id = OLD.id;
END;

-- Writers set `expires_at` to the real expiry, and these triggers move it where it belongs. A trigger's own UPDATE
-- fires it again only with `recursive_triggers`, which is off, and would change nothing then.

CREATE TRIGGER urls_hide_insert AFTER INSERT ON urls
    WHEN (NEW.password_hash IS NOT NULL OR NOT NEW.enabled OR NEW.deleted_at IS NOT NULL
        OR NEW.starts_at IS NOT NULL OR NEW.main_id IS NOT NULL)
        -- A row that was hidden when it was copied.
        AND NOT (NEW.hidden AND NEW.expires_at IS 0.0)
BEGIN
    UPDATE urls SET ends_at = NEW.expires_at, expires_at = 0, hidden = 1 WHERE id = NEW.id;
END;

CREATE TRIGGER urls_hide_update
    AFTER UPDATE OF expires_at, password_hash, enabled, deleted_at, starts_at, main_id, hidden ON urls
    WHEN (NEW.password_hash IS NOT NULL OR NOT NEW.enabled OR NEW.deleted_at IS NOT NULL
        OR NEW.starts_at IS NOT NULL OR NEW.main_id IS NOT NULL)
        AND NOT (NEW.hidden AND NEW.expires_at IS 0.0)
BEGIN
    UPDATE urls SET ends_at = iif(OLD.hidden AND NEW.expires_at IS 0.0, NEW.ends_at, NEW.expires_at),
                    expires_at = 0, hidden = 1
    WHERE id = NEW.id;
END;

CREATE TRIGGER urls_show_update
    AFTER UPDATE OF expires_at, password_hash, enabled, deleted_at, starts_at, main_id, hidden ON urls
    WHEN NEW.hidden AND NEW.password_hash IS NULL AND NEW.enabled AND NEW.deleted_at IS NULL
        AND NEW.starts_at IS NULL AND NEW.main_id IS NULL
BEGIN
    UPDATE urls SET expires_at = iif(NEW.expires_at IS 0.0, NEW.ends_at, NEW.expires_at), ends_at = NULL, hidden = 0
    WHERE id = NEW.id;
END;

-- A link that everybody who shortens its URL shares is a link without options to this URL. Whoever changes that, ends
-- the sharing.
CREATE TRIGGER urls_end_sharing AFTER UPDATE ON urls
    WHEN NEW.url_sha256 IS NOT NULL AND NEW.url_sha256 IS OLD.url_sha256 AND (
        NEW.original_url IS NOT OLD.original_url OR NEW.owner IS NOT OLD.owner
        OR NEW.expires_at IS NOT NULL OR NEW.max_visits IS NOT NULL OR NEW.starts_at IS NOT NULL
        OR NOT NEW.enabled OR NEW.deleted_at IS NOT NULL OR NEW.password_hash IS NOT NULL
        OR NEW.redirect IS NOT NULL OR NEW.forward_query OR NEW.fallback_url IS NOT NULL
        OR NEW.main_id IS NOT NULL
    )
BEGIN
    UPDATE urls SET url_sha256 = NULL WHERE id = NEW.id;
END;
