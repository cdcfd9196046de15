-- Handovers as bytes. `format`: 1 as they are, 2 compressed with zstd; `checksum` is that of the text.
CREATE TABLE handovers_as_bytes (
  host_id TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  format INTEGER NOT NULL,
  data BLOB,
  checksum TEXT NOT NULL,
  PRIMARY KEY (host_id, sequence),
  FOREIGN KEY (host_id, sequence) REFERENCES journal (host_id, sequence) ON DELETE CASCADE
) STRICT;

INSERT INTO handovers_as_bytes SELECT host_id, sequence, 1, CAST(text AS BLOB), checksum FROM handovers;
DROP TABLE handovers;
ALTER TABLE handovers_as_bytes RENAME TO handovers;

-- Hosts as they were after a command, so that what came before need not be replayed. `engine`: the version that wrote it.
CREATE TABLE snapshots (
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  sequence INTEGER NOT NULL,
  engine TEXT NOT NULL,
  format INTEGER NOT NULL,
  data BLOB NOT NULL,
  checksum TEXT NOT NULL,
  PRIMARY KEY (host_id, sequence)
) STRICT;
