-- How a bulk replay is carried out: what it was asked for, how many go first, how fast, in which order, where to.
ALTER TABLE replay_jobs ADD COLUMN plan TEXT NOT NULL DEFAULT '{}';

-- An edit as a small patch for every dead letter of a fingerprint. `patch` is a JSON list of steps.
CREATE TABLE fix_rules (
    id TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    patch TEXT NOT NULL,
    note TEXT NOT NULL,
    made_from TEXT,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
);
CREATE INDEX fix_rules_fingerprint ON fix_rules (fingerprint);
