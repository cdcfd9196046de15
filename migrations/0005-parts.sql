-- Large payloads and snapshots stand here in parts, each committed by itself, so that no commit takes long. They count
-- when the command or the snapshot that they belong to is stored, and says how many there are.
CREATE TABLE parts (
  host_id TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('payload', 'snapshot')),
  part INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (host_id, sequence, kind, part)
) STRICT;

-- zstd has a checksum of its own.
ALTER TABLE snapshots DROP COLUMN checksum;
ALTER TABLE snapshots ADD COLUMN parts INTEGER;

-- A command is one row in one place: half the pages of a commit.
CREATE TABLE journal_in_order (
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  sequence INTEGER NOT NULL,
  command TEXT NOT NULL,
  digest TEXT NOT NULL,
  payload BLOB,
  payload_format INTEGER,
  payload_parts INTEGER,
  PRIMARY KEY (host_id, sequence)
) STRICT, WITHOUT ROWID;

INSERT INTO journal_in_order
  SELECT host_id, sequence, command, digest, payload, payload_format, NULL FROM journal ORDER BY host_id, sequence;

CREATE TABLE handovers_in_order (
  host_id TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  format INTEGER NOT NULL,
  data BLOB,
  checksum TEXT NOT NULL,
  PRIMARY KEY (host_id, sequence),
  FOREIGN KEY (host_id, sequence) REFERENCES journal_in_order (host_id, sequence) ON DELETE CASCADE
) STRICT;

INSERT INTO handovers_in_order SELECT host_id, sequence, format, data, checksum FROM handovers;
DROP TABLE handovers;
DROP TABLE journal;
ALTER TABLE journal_in_order RENAME TO journal;
ALTER TABLE handovers_in_order RENAME TO handovers;
