-- Nodes remember where codes lead, and listen on the channel `shunt_links` for codes that they must look up again.
-- Triggers announce them, so that a change counts whoever makes it: also an administrator with psql.
--
-- A shared link that is new is not announced: nobody can have asked for its random code before, and a commit with
-- a notification waits for every other such commit. Nor is a counted visit: links whose visits are limited are
-- not remembered.

CREATE FUNCTION urls_announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('shunt_links', OLD.short_code);
    END IF;
    PERFORM pg_notify('shunt_links', NEW.short_code);
    RETURN NULL;
END
$$;

-- Somebody may have looked whether an alias is free.
CREATE TRIGGER urls_announce_insert AFTER INSERT ON urls
    FOR EACH ROW WHEN (NEW.url_sha256 IS NULL)
    EXECUTE FUNCTION urls_announce();

CREATE TRIGGER urls_announce_update AFTER UPDATE ON urls
    FOR EACH ROW WHEN (
        (OLD.short_code, OLD.original_url, OLD.expires_at, OLD.max_visits)
        IS DISTINCT FROM (NEW.short_code, NEW.original_url, NEW.expires_at, NEW.max_visits)
    )
    EXECUTE FUNCTION urls_announce();

-- `*` means all of them: cheaper than a million notifications.
CREATE FUNCTION urls_announce_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('shunt_links', '*');
    ELSIF (SELECT count(*) FROM (SELECT FROM removed LIMIT 1001) AS first) > 1000 THEN
        PERFORM pg_notify('shunt_links', '*');
    ELSE
        PERFORM pg_notify('shunt_links', short_code) FROM removed;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER urls_announce_delete AFTER DELETE ON urls
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION urls_announce_removal();

CREATE TRIGGER urls_announce_truncate AFTER TRUNCATE ON urls
    FOR EACH STATEMENT EXECUTE FUNCTION urls_announce_removal();
