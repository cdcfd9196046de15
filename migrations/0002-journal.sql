-- Every command that a host has executed, in order, with the SHA-256 of its answer.
CREATE TABLE journal (
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  sequence INTEGER NOT NULL,
  command TEXT NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (host_id, sequence)
) STRICT;

-- What a frozen kernel hands over. `sequence` is that of the freeze; `text` is NULL where nothing is handed over.
CREATE TABLE handovers (
  host_id TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  text TEXT,
  checksum TEXT NOT NULL,
  PRIMARY KEY (host_id, sequence),
  FOREIGN KEY (host_id, sequence) REFERENCES journal (host_id, sequence) ON DELETE CASCADE
) STRICT;
