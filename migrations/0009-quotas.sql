-- What differs from the quotas that all tenants have, as JSON; NULL: nothing.
ALTER TABLE tenants ADD COLUMN quotas TEXT;

-- About how many bytes are stored of each host that is not deleted; NULL: of an earlier version, and not counted yet.
CREATE TABLE host_sizes (host_id TEXT PRIMARY KEY, bytes INTEGER) STRICT, WITHOUT ROWID;
INSERT INTO host_sizes SELECT id, NULL FROM hosts WHERE deleted IS NOT 'deleted';
