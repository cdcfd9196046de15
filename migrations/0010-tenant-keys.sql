-- All keys of tenants. Of a key only its SHA-256 is kept. `expires`: from when on it is no key any more; NULL: never.
CREATE TABLE tenant_keys (
  tenant_id TEXT NOT NULL REFERENCES tenants (id),
  name TEXT NOT NULL,
  key_hash TEXT NOT NULL UNIQUE,
  role TEXT NOT NULL,
  created TEXT NOT NULL,
  expires TEXT,
  PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

-- The one that a tenant was made with. The column in which it was stays, as SQLite drops none that is UNIQUE, and holds the id from now on.
INSERT INTO tenant_keys SELECT id, 'first', key_hash, 'full', created, NULL FROM tenants;
UPDATE tenants SET key_hash = id;
