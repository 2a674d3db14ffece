-- Links that were deleted long ago are removed for good. They are few, and found by this.
CREATE INDEX urls_deleted_at_idx ON urls (deleted_at) WHERE deleted_at IS NOT NULL;
