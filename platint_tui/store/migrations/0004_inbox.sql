-- `bin`: record (this record is at fault) or systemic (the target, the credential, the network is).
ALTER TABLE dead_letters ADD COLUMN bin TEXT NOT NULL DEFAULT 'record';
ALTER TABLE issues ADD COLUMN bin TEXT NOT NULL DEFAULT 'record';
ALTER TABLE dead_letters ADD COLUMN integration_version INTEGER;
