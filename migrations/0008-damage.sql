-- CRC-32 of all that a row says and that never changes, as src/store/sqlite/checksums.ts makes it; NULL: of an earlier
-- version, which wrote none.
ALTER TABLE journal ADD COLUMN checksum INTEGER;
ALTER TABLE events ADD COLUMN checksum INTEGER;
ALTER TABLE snapshots ADD COLUMN checksum INTEGER;
ALTER TABLE hosts ADD COLUMN checksum INTEGER;
ALTER TABLE hosts ADD COLUMN spec_checksum INTEGER;

-- 'deleted': nobody sees the host any more, and what is stored of it goes bit by bit. A word, which no flipped bit makes.
ALTER TABLE hosts ADD COLUMN deleted TEXT;
CREATE INDEX hosts_deleted ON hosts (id) WHERE deleted = 'deleted';
