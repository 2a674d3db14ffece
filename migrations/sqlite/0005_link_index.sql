-- An index of what links contain, for lists and searches. The node keeps it, in the background: see `src/links/find/`. A
-- block is about 2048 numbers of links in a row. A link that is not in the index is found all the same, only not as
-- fast; so a new link costs nothing here, and an old table is indexed while it is in use.

CREATE TABLE link_blocks (
    -- The numbers of its links, without their last 11 bits.
    block INTEGER PRIMARY KEY,
    -- Another one whenever somebody claims the block: a random one.
    version INTEGER NOT NULL,
    -- Until when nobody else indexes the block, in Unix seconds.
    claimed_until REAL,
    -- Whether its rows can be read. Changes are noted from the first claim on.
    is_ready INTEGER NOT NULL DEFAULT 0 CHECK (is_ready IN (0, 1)),
    -- When the first and the last of its links were made, in Unix seconds; NULL if it has none.
    created_first REAL,
    created_last REAL,
    -- The length of the longest of its rows.
    row_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE link_entries (
    bucket INTEGER NOT NULL,
    block INTEGER NOT NULL,
    entries BLOB NOT NULL,
    PRIMARY KEY (bucket, block)
) STRICT, WITHOUT ROWID;

-- Links that were added to a block or have changed, and perhaps not been indexed since. Each change has another number.
CREATE TABLE link_changes (
    link_id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT;

-- When the newest links are deleted, their numbers are given out again, and may be in the index. A link whose block
-- nobody has claimed is read when somebody does.
CREATE TRIGGER urls_note_insert AFTER INSERT ON urls
BEGIN
    INSERT INTO link_changes (link_id, number)
    SELECT coalesce(NEW.main_id, NEW.id), random()
    WHERE EXISTS (SELECT 1 FROM link_blocks WHERE block = coalesce(NEW.main_id, NEW.id) >> 11)
    ON CONFLICT (link_id) DO UPDATE SET number = excluded.number;
END;

-- A visit is no change.
CREATE TRIGGER urls_note_update
    AFTER UPDATE OF id, short_code, original_url, owner, main_id, created_at, expires_at, max_visits, starts_at, enabled,
                    deleted_at, title, note, tags, ends_at ON urls
BEGIN
    INSERT INTO link_changes (link_id, number)
    SELECT coalesce(NEW.main_id, NEW.id), random()
    WHERE EXISTS (SELECT 1 FROM link_blocks WHERE block = coalesce(NEW.main_id, NEW.id) >> 11)
    ON CONFLICT (link_id) DO UPDATE SET number = excluded.number;
    -- When a code is given to another link.
    INSERT INTO link_changes (link_id, number)
    SELECT coalesce(OLD.main_id, OLD.id), random()
    WHERE OLD.main_id IS NOT NEW.main_id
    AND EXISTS (SELECT 1 FROM link_blocks WHERE block = coalesce(OLD.main_id, OLD.id) >> 11)
    ON CONFLICT (link_id) DO UPDATE SET number = excluded.number;
END;

-- How many links somebody has. Before this release, no link had an owner.
CREATE INDEX urls_owner_idx ON urls (owner) WHERE owner IS NOT NULL AND main_id IS NULL AND deleted_at IS NULL;

-- Whose links have which tag: counted without a look at the links, and without one at those of others.
ALTER TABLE taggings ADD COLUMN owner TEXT;
-- Whether the link is deleted.
ALTER TABLE taggings ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1));

UPDATE taggings SET owner = urls.owner, deleted = urls.deleted_at IS NOT NULL FROM urls
WHERE id = link_id AND (urls.owner IS NOT NULL OR urls.deleted_at IS NOT NULL);

DROP INDEX taggings_tag_idx;

CREATE INDEX taggings_tag_idx ON taggings (tag, link_id, deleted);

CREATE INDEX taggings_owner_idx ON taggings (owner, tag, link_id, deleted);

DROP TRIGGER urls_copy_tags_insert;

CREATE TRIGGER urls_copy_tags_insert AFTER INSERT ON urls WHEN NEW.tags IS NOT NULL
BEGIN
    INSERT INTO taggings (link_id, tag, owner, deleted)
    SELECT NEW.id, value, NEW.owner, NEW.deleted_at IS NOT NULL FROM json_each(NEW.tags) WHERE true ON CONFLICT DO NOTHING;
END;

DROP TRIGGER urls_copy_tags_update;

CREATE TRIGGER urls_copy_tags_update AFTER UPDATE OF tags, owner, deleted_at ON urls
    WHEN (NEW.tags IS NOT OLD.tags OR NEW.owner IS NOT OLD.owner OR NEW.deleted_at IS NOT OLD.deleted_at)
        AND (NEW.tags IS NOT NULL OR OLD.tags IS NOT NULL)
BEGIN
    DELETE FROM taggings WHERE link_id = NEW.id;
    INSERT INTO taggings (link_id, tag, owner, deleted)
    SELECT NEW.id, value, NEW.owner, NEW.deleted_at IS NOT NULL FROM json_each(NEW.tags) WHERE true ON CONFLICT DO NOTHING;
END;
