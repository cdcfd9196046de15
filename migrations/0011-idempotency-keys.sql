-- Which request of a tenant has been carried out, by its Idempotency-Key: `key` is the SHA-256 of the key, `fingerprint` that of
-- what was asked. `sequence` is that of the command in the journal, or that behind which the host begins that was made. A key is
-- kept as long as the command is, that of a host as long as the host.
CREATE TABLE idempotency_keys (
  tenant_id TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  sequence INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_host ON idempotency_keys (host_id, sequence);
