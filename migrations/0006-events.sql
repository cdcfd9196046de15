-- What kernels and hardware tell, committed with the command that caused it. `sequence` is that of the command in the
-- journal, 0 for the creation of the host; `idx` counts within the command, from 0. `time`: simulated nanoseconds,
-- decimal, as they may have more than 63 bits. `number` and `bytes`: how many events the host has had with this one, and
-- about how many bytes they took; so what is kept can be told from the first and the last row.
CREATE TABLE events (
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  sequence INTEGER NOT NULL,
  idx INTEGER NOT NULL,
  time TEXT NOT NULL,
  kernel INTEGER NOT NULL,
  kind TEXT NOT NULL,
  bdf TEXT,
  message TEXT NOT NULL,
  data TEXT NOT NULL,
  number INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (host_id, sequence, idx)
) STRICT, WITHOUT ROWID;

-- 0: a host of an earlier version, whose events are stored when it is built for the first time.
ALTER TABLE hosts ADD COLUMN events_stored INTEGER NOT NULL DEFAULT 0;

-- The newest event that is no longer kept; NULL: all are.
ALTER TABLE hosts ADD COLUMN gone_sequence INTEGER;
ALTER TABLE hosts ADD COLUMN gone_idx INTEGER;
