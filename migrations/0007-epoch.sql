-- Who has made the host is its owner at epoch 1; each later owner has an epoch of its own, and writes in older ones are refused.
ALTER TABLE hosts ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1;
