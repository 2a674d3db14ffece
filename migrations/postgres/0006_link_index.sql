-- An index of what links contain, for lists and searches. Nodes keep it, in the background: see `src/links/find/`. A
-- block is about 2048 numbers of links in a row. A link that is not in the index is found all the same, only not as
-- fast; so a new link costs nothing here, and an old table is indexed while it is in use.

CREATE TABLE link_blocks (
    -- The numbers of its links, without their last 11 bits.
    block bigint PRIMARY KEY,
    -- Another one whenever somebody claims the block, and never the same again.
    version bigint GENERATED ALWAYS AS IDENTITY,
    -- Until when nobody else indexes the block.
    claimed_until timestamptz,
    -- Whether its rows can be read. Changes are noted from the first claim on.
    is_ready boolean NOT NULL DEFAULT false,
    -- When the first and the last of its links were made, in Unix seconds; NULL if it has none.
    created_first double precision,
    created_last double precision,
    -- The length of the longest of its rows.
    row_bytes bigint NOT NULL DEFAULT 0
);

CREATE TABLE link_entries (
    bucket smallint NOT NULL,
    block bigint NOT NULL,
    entries bytea NOT NULL,
    PRIMARY KEY (bucket, block)
);

-- Links that were added to a block or have changed, and perhaps not been indexed since. Each change has another number.
CREATE TABLE link_changes (
    link_id bigint PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY
);

-- A link whose block nobody has claimed is read when somebody does. Only a transaction that sees the table as it was at
-- its start does not see the claim.
--
-- The second link is there when a code is given to another one.
CREATE FUNCTION urls_note_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    always boolean := current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted');
    changed bigint := coalesce(NEW.main_id, NEW.id);
BEGIN
    IF always OR EXISTS (SELECT FROM link_blocks WHERE block = changed >> 11) THEN
        INSERT INTO link_changes (link_id) VALUES (changed)
        ON CONFLICT (link_id) DO UPDATE SET number = DEFAULT;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.main_id IS DISTINCT FROM NEW.main_id THEN
        changed := coalesce(OLD.main_id, OLD.id);
        IF always OR EXISTS (SELECT FROM link_blocks WHERE block = changed >> 11) THEN
            INSERT INTO link_changes (link_id) VALUES (changed)
            ON CONFLICT (link_id) DO UPDATE SET number = DEFAULT;
        END IF;
    END IF;
    RETURN NULL;
END
$$;

-- A link may have any number: an administrator may have copied it, and a sequence with a cache gives numbers out late.
CREATE TRIGGER urls_note_insert AFTER INSERT ON urls
    FOR EACH ROW EXECUTE FUNCTION urls_note_change();

-- A visit is no change.
CREATE TRIGGER urls_note_update
    AFTER UPDATE OF id, short_code, original_url, owner, main_id, created_at, expires_at, max_visits, starts_at, enabled,
                    deleted_at, title, note, tags, ends_at ON urls
    FOR EACH ROW WHEN (
        (OLD.id, OLD.short_code, OLD.original_url, OLD.owner, OLD.main_id, OLD.created_at, OLD.expires_at,
         OLD.max_visits, OLD.starts_at, OLD.enabled, OLD.deleted_at, OLD.title, OLD.note, OLD.tags, OLD.ends_at)
        IS DISTINCT FROM
        (NEW.id, NEW.short_code, NEW.original_url, NEW.owner, NEW.main_id, NEW.created_at, NEW.expires_at,
         NEW.max_visits, NEW.starts_at, NEW.enabled, NEW.deleted_at, NEW.title, NEW.note, NEW.tags, NEW.ends_at)
    )
    EXECUTE FUNCTION urls_note_change();

-- The numbers may begin again.
CREATE FUNCTION urls_empty_index() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    TRUNCATE link_blocks, link_entries, link_changes;
    RETURN NULL;
END
$$;

CREATE TRIGGER urls_empty_index AFTER TRUNCATE ON urls
    FOR EACH STATEMENT EXECUTE FUNCTION urls_empty_index();

-- Tags are found by owner, too. `urls_copy_tags_update` stays for the tags themselves: to replace it would take a lock
-- for which all reads wait.
CREATE TRIGGER urls_copy_tags_owner AFTER UPDATE OF owner, deleted_at ON urls
    FOR EACH ROW WHEN (
        (NEW.owner, NEW.deleted_at) IS DISTINCT FROM (OLD.owner, OLD.deleted_at) AND NEW.tags IS NOT NULL
    )
    EXECUTE FUNCTION urls_copy_tags();

-- How many links somebody has. Before this release, no link had an owner.
CREATE INDEX urls_owner_idx ON urls (owner) WHERE owner IS NOT NULL AND main_id IS NULL AND deleted_at IS NULL;

-- Whose links have which tag: counted without a look at the links, and without one at those of others.
ALTER TABLE taggings
    ADD COLUMN owner text COLLATE "C",
    -- Whether the link is deleted.
    ADD COLUMN deleted boolean NOT NULL DEFAULT false;

UPDATE taggings SET owner = urls.owner, deleted = urls.deleted_at IS NOT NULL FROM urls
WHERE id = link_id AND (urls.owner IS NOT NULL OR urls.deleted_at IS NOT NULL);

DROP INDEX taggings_tag_idx;

CREATE INDEX taggings_tag_idx ON taggings (tag, link_id, deleted);

CREATE INDEX taggings_owner_idx ON taggings (owner, tag, link_id, deleted);

CREATE OR REPLACE FUNCTION urls_copy_tags() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM taggings WHERE link_id = NEW.id AND tag <> ALL (coalesce(NEW.tags, '{}'));
    END IF;
    INSERT INTO taggings (link_id, tag, owner, deleted)
    SELECT DISTINCT NEW.id, tag, NEW.owner, NEW.deleted_at IS NOT NULL FROM unnest(NEW.tags) AS tag
    ON CONFLICT (link_id, tag) DO UPDATE SET owner = EXCLUDED.owner, deleted = EXCLUDED.deleted
    WHERE (taggings.owner, taggings.deleted) IS DISTINCT FROM (EXCLUDED.owner, EXCLUDED.deleted);
    RETURN NULL;
END
$$;
