-- What a command carries beside its JSON (a batch as it was sent). `payload_format`: 1 as it is, 2 compressed with zstd.
ALTER TABLE journal ADD COLUMN payload BLOB;
ALTER TABLE journal ADD COLUMN payload_format INTEGER;
