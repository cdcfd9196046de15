-- What its commands are found by, beside them in the journal. From 1 on, below 2^31; it may be another one's when all of it is gone.
ALTER TABLE hosts ADD COLUMN serial INTEGER;
UPDATE hosts SET serial = rowid;
CREATE UNIQUE INDEX hosts_by_serial ON hosts (serial);

-- A command is one row at one place of one tree, so that a commit writes one page: what comes behind all others, as the next
-- command of the newest host does, begins a page of its own where the last one is full. A table without rowid would move half of
-- each full page to another one, for each new page three are written.
CREATE TABLE journal_by_place (
  place INTEGER PRIMARY KEY,
  serial INTEGER AS (place >> 32),
  sequence INTEGER AS (place & 4294967295),
  command TEXT NOT NULL,
  digest TEXT NOT NULL,
  payload BLOB,
  payload_format INTEGER,
  payload_parts INTEGER,
  checksum INTEGER
) STRICT;

INSERT INTO journal_by_place (place, command, digest, payload, payload_format, payload_parts, checksum)
  SELECT (serial << 32) + sequence, command, digest, payload, payload_format, payload_parts, journal.checksum
  FROM hosts JOIN journal ON host_id = id ORDER BY serial, sequence;

-- The same, but for their key to a table that knows no hosts any more.
CREATE TABLE handovers_of_hosts (
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  sequence INTEGER NOT NULL,
  format INTEGER NOT NULL,
  data BLOB,
  checksum TEXT NOT NULL,
  PRIMARY KEY (host_id, sequence)
) STRICT;

INSERT INTO handovers_of_hosts SELECT host_id, sequence, format, data, checksum FROM handovers
  WHERE host_id IN (SELECT id FROM hosts);
DROP TABLE handovers;
DROP TABLE journal;
ALTER TABLE journal_by_place RENAME TO journal;
ALTER TABLE handovers_of_hosts RENAME TO handovers;
