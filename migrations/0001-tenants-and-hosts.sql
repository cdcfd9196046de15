-- Who may use the service. Of a key only its SHA-256 is kept.
CREATE TABLE tenants (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  key_hash TEXT NOT NULL UNIQUE,
  created TEXT NOT NULL
) STRICT;

-- What a host began with. `diverged`: the first difference that a replay of its journal found, as JSON.
CREATE TABLE hosts (
  id TEXT PRIMARY KEY,
  tenant_id TEXT NOT NULL REFERENCES tenants (id),
  name TEXT NOT NULL,
  spec TEXT NOT NULL,
  created TEXT NOT NULL,
  diverged TEXT
) STRICT;

CREATE INDEX hosts_by_tenant ON hosts (tenant_id, created, id);
