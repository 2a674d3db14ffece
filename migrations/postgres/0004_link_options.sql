-- What a link can have beside its target, an expiry and a number of visits. All of it is optional, so a link without
-- options costs what it has cost before.
--
-- A release before this one may still run beside this one. It knows none of these columns, and must not open a link
-- that has a password, that is disabled or deleted, that has not started, or that is a further code of another link.
-- Such a link is hidden from it: `expires_at` is '-infinity', which that release takes for an expiry that has passed,
-- and the real expiry stands in `ends_at`. A trigger does this, so that nobody who writes to the table has to know.
ALTER TABLE urls
    -- Who may change the link; NULL: only administrators.
    ADD COLUMN owner text COLLATE "C",
    -- This row is a further code of that link, and nothing else.
    ADD COLUMN main_id bigint REFERENCES urls ON DELETE CASCADE CHECK (main_id <> id),
    ADD COLUMN starts_at timestamptz,
    ADD COLUMN enabled boolean NOT NULL DEFAULT true,
    ADD COLUMN deleted_at timestamptz,
    ADD COLUMN password_hash text,
    -- The status of the redirect; NULL: 302.
    ADD COLUMN redirect smallint CHECK (redirect IN (301, 302, 303, 307, 308)),
    ADD COLUMN forward_query boolean NOT NULL DEFAULT false,
    -- Where the link leads once it has expired or is used up.
    ADD COLUMN fallback_url text COLLATE "C",
    ADD COLUMN title text,
    ADD COLUMN note text,
    ADD COLUMN tags text[],
    ADD COLUMN hidden boolean NOT NULL DEFAULT false,
    ADD COLUMN ends_at timestamptz;

CREATE INDEX urls_main_id_idx ON urls (main_id) WHERE main_id IS NOT NULL;

-- Functions that name tables have the search_path of now: a session may have another one.

-- The tags again, one row for each, to be found by. Triggers copy them, and remove them with their link: with a foreign
-- key, an administrator could no longer say TRUNCATE urls.
CREATE TABLE taggings (
    link_id bigint NOT NULL,
    tag text COLLATE "C" NOT NULL,
    PRIMARY KEY (link_id, tag)
);

CREATE INDEX taggings_tag_idx ON taggings (tag, link_id);

CREATE FUNCTION urls_copy_tags() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM taggings WHERE link_id = NEW.id AND tag <> ALL (coalesce(NEW.tags, '{}'));
    END IF;
    INSERT INTO taggings SELECT NEW.id, tag FROM unnest(NEW.tags) AS tag ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER urls_copy_tags_insert AFTER INSERT ON urls
    FOR EACH ROW WHEN (NEW.tags IS NOT NULL)
    EXECUTE FUNCTION urls_copy_tags();

CREATE TRIGGER urls_copy_tags_update AFTER UPDATE OF tags ON urls
    FOR EACH ROW WHEN (NEW.tags IS DISTINCT FROM OLD.tags)
    EXECUTE FUNCTION urls_copy_tags();

CREATE FUNCTION urls_remove_tags() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        TRUNCATE taggings;
    ELSE
        DELETE FROM taggings WHERE link_id = OLD.id;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER urls_remove_tags AFTER DELETE ON urls
    FOR EACH ROW WHEN (OLD.tags IS NOT NULL)
    EXECUTE FUNCTION urls_remove_tags();

CREATE TRIGGER urls_remove_all_tags AFTER TRUNCATE ON urls
    FOR EACH STATEMENT EXECUTE FUNCTION urls_remove_tags();

-- Writers set `expires_at` to the real expiry, and this moves it where it belongs.
CREATE FUNCTION urls_hide() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    must_hide boolean := NEW.password_hash IS NOT NULL OR NOT NEW.enabled OR NEW.deleted_at IS NOT NULL
        OR NEW.starts_at IS NOT NULL OR NEW.main_id IS NOT NULL;
BEGIN
    IF must_hide THEN
        -- If the link was hidden before, or if it is a copy of one that was, '-infinity' says nothing of the expiry.
        IF NOT ((NEW.hidden OR TG_OP = 'UPDATE' AND OLD.hidden) AND NEW.expires_at IS NOT DISTINCT FROM '-infinity') THEN
            NEW.ends_at := NEW.expires_at;
        END IF;
        NEW.expires_at := '-infinity';
        NEW.hidden := true;
    ELSIF NEW.hidden OR OLD.hidden THEN
        IF NEW.expires_at IS NOT DISTINCT FROM '-infinity' THEN
            NEW.expires_at := NEW.ends_at;
        END IF;
        NEW.ends_at := NULL;
        NEW.hidden := false;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER urls_hide_insert BEFORE INSERT ON urls
    FOR EACH ROW WHEN (
        NEW.password_hash IS NOT NULL OR NOT NEW.enabled OR NEW.deleted_at IS NOT NULL
        OR NEW.starts_at IS NOT NULL OR NEW.main_id IS NOT NULL
    )
    EXECUTE FUNCTION urls_hide();

CREATE TRIGGER urls_hide_update BEFORE UPDATE ON urls
    FOR EACH ROW WHEN (
        OLD.hidden OR NEW.hidden OR NEW.password_hash IS NOT NULL OR NOT NEW.enabled OR NEW.deleted_at IS NOT NULL
        OR NEW.starts_at IS NOT NULL OR NEW.main_id IS NOT NULL
    )
    EXECUTE FUNCTION urls_hide();

-- A link that everybody who shortens its URL shares is a link without options to this URL. Whoever changes that, ends
-- the sharing.
CREATE FUNCTION urls_end_sharing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.url_sha256 := NULL;
    RETURN NEW;
END
$$;

CREATE TRIGGER urls_end_sharing BEFORE UPDATE ON urls
    FOR EACH ROW WHEN (
        NEW.url_sha256 IS NOT NULL AND NEW.url_sha256 IS NOT DISTINCT FROM OLD.url_sha256 AND (
            (NEW.original_url, NEW.owner) IS DISTINCT FROM (OLD.original_url, OLD.owner)
            OR NEW.expires_at IS NOT NULL OR NEW.max_visits IS NOT NULL OR NEW.starts_at IS NOT NULL
            OR NOT NEW.enabled OR NEW.deleted_at IS NOT NULL OR NEW.password_hash IS NOT NULL
            OR NEW.redirect IS NOT NULL OR NEW.forward_query OR NEW.fallback_url IS NOT NULL
            OR NEW.main_id IS NOT NULL
        )
    )
    EXECUTE FUNCTION urls_end_sharing();

-- A change of a link concerns all its codes.
CREATE OR REPLACE FUNCTION urls_announce() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('shunt_links', OLD.short_code);
        PERFORM pg_notify('shunt_links', short_code) FROM urls WHERE main_id = NEW.id;
    END IF;
    PERFORM pg_notify('shunt_links', NEW.short_code);
    RETURN NULL;
END
$$;

DROP TRIGGER urls_announce_update ON urls;

CREATE TRIGGER urls_announce_update AFTER UPDATE ON urls
    FOR EACH ROW WHEN (
        (OLD.short_code, OLD.original_url, OLD.expires_at, OLD.max_visits, OLD.main_id, OLD.starts_at, OLD.enabled,
         OLD.deleted_at, OLD.password_hash, OLD.redirect, OLD.forward_query, OLD.fallback_url, OLD.ends_at)
        IS DISTINCT FROM
        (NEW.short_code, NEW.original_url, NEW.expires_at, NEW.max_visits, NEW.main_id, NEW.starts_at, NEW.enabled,
         NEW.deleted_at, NEW.password_hash, NEW.redirect, NEW.forward_query, NEW.fallback_url, NEW.ends_at)
    )
    EXECUTE FUNCTION urls_announce();
