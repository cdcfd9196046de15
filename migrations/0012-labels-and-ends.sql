-- What people find hosts by, as JSON; NULL: nothing. And when they are deleted; NULL: when somebody asks for that.
ALTER TABLE hosts ADD COLUMN labels TEXT;
ALTER TABLE hosts ADD COLUMN expires TEXT;
CREATE INDEX hosts_expiring ON hosts (expires) WHERE expires IS NOT NULL;

-- Events from which a list of hosts tells in which state each is, and those that it counts.
CREATE INDEX events_of_state ON events (host_id, sequence, idx)
  WHERE kind IN ('boot', 'crash', 'panic', 'kexec', 'restored', 'copy');
CREATE INDEX events_of_hazards ON events (host_id) WHERE kind = 'hazard';

-- Throw-away tenants: whose they are, and when they are deleted; NULL: it is none.
ALTER TABLE tenants ADD COLUMN parent_id TEXT REFERENCES tenants (id);
ALTER TABLE tenants ADD COLUMN expires TEXT;
CREATE INDEX tenants_of_parent ON tenants (parent_id) WHERE parent_id IS NOT NULL;
