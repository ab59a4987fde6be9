-- What a dead letter asked for ('' is a write), and where it lies at its platform when that keeps it itself.
ALTER TABLE dead_letters ADD COLUMN op TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letters ADD COLUMN origin TEXT;
CREATE INDEX dead_letters_origin ON dead_letters (profile, stream, record_key) WHERE origin IS NOT NULL;

-- When the source of a stream last gave a sign of life, with or without records.
ALTER TABLE run_streams ADD COLUMN heard_ms INTEGER;

-- Spans of a stream that were not read and cannot be any more.
CREATE TABLE gaps (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    integration TEXT NOT NULL,
    stream TEXT NOT NULL,
    run TEXT NOT NULL,
    reason TEXT NOT NULL,
    start TEXT NOT NULL,
    end TEXT NOT NULL,
    noticed_ms INTEGER NOT NULL
);
CREATE INDEX gaps_sync ON gaps (integration, stream, number);

-- The places where platforms keep dead letters of their own, as they were last seen.
CREATE TABLE dead_queues (
    profile TEXT NOT NULL REFERENCES profiles (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    origin TEXT NOT NULL,
    depth INTEGER,
    oldest_ms INTEGER,
    seen_ms INTEGER NOT NULL,
    PRIMARY KEY (profile, name)
);
