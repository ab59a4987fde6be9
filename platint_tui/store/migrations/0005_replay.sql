-- How a replay is carried out (`options`, as JSON) and who asked for it.
ALTER TABLE replay_jobs ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
ALTER TABLE replay_jobs ADD COLUMN operator TEXT NOT NULL DEFAULT '';

-- Who asked for an attempt, and the target that it went to when that is not the integration's own.
ALTER TABLE attempts ADD COLUMN operator TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN target TEXT NOT NULL DEFAULT '';

-- An edit as a small patch for every dead letter of a fingerprint. `patch` is a JSON list of steps.
CREATE TABLE fix_rules (
    id TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    patch TEXT NOT NULL,
    note TEXT NOT NULL,
    made_from TEXT,
    operator TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
);
CREATE INDEX fix_rules_fingerprint ON fix_rules (fingerprint);

-- The rule that made an edit.
ALTER TABLE dead_letters ADD COLUMN rule TEXT;
CREATE INDEX dead_letters_rule ON dead_letters (rule) WHERE rule IS NOT NULL;
