-- Ids are text, times epoch milliseconds, JSON is text. Orders are by a number that only grows, never by time.

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE profiles (
    name TEXT NOT NULL PRIMARY KEY,
    platform TEXT NOT NULL,
    environment TEXT NOT NULL,
    fields TEXT NOT NULL,
    secrets TEXT NOT NULL,
    origins TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
);

CREATE TABLE profile_checks (
    profile TEXT NOT NULL PRIMARY KEY REFERENCES profiles (name) ON DELETE CASCADE,
    checked_ms INTEGER NOT NULL,
    ok INTEGER NOT NULL,
    capabilities TEXT NOT NULL
);

CREATE TABLE catalogues (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    profile TEXT NOT NULL REFERENCES profiles (name) ON DELETE CASCADE,
    platform TEXT NOT NULL,
    manifest_version TEXT NOT NULL,
    discovered_ms INTEGER NOT NULL,
    streams TEXT NOT NULL
);
CREATE INDEX catalogues_profile ON catalogues (profile, number);

CREATE TABLE integrations (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    content TEXT NOT NULL,
    text TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (name, version)
);

-- `command`: what asked for it, so that a command that is repeated after a crash finds it.
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    integration TEXT NOT NULL,
    version INTEGER NOT NULL,
    trigger TEXT NOT NULL,
    wanted TEXT NOT NULL,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    worker TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER,
    ended_ms INTEGER,
    error TEXT NOT NULL DEFAULT '',
    command TEXT UNIQUE
);
CREATE UNIQUE INDEX runs_one_active ON runs (integration)
    WHERE state IN ('queued', 'running', 'rate_limited', 'interrupted');
CREATE INDEX runs_integration ON runs (integration, number);
CREATE INDEX runs_state ON runs (state, number);

CREATE TABLE run_streams (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    stream TEXT NOT NULL,
    state TEXT NOT NULL,
    read INTEGER NOT NULL DEFAULT 0,
    written INTEGER NOT NULL DEFAULT 0,
    dead_lettered INTEGER NOT NULL DEFAULT 0,
    superseded INTEGER NOT NULL DEFAULT 0,
    pages INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    total INTEGER,
    started_ms INTEGER,
    ended_ms INTEGER,
    resume_at_ms INTEGER,
    parked_ms INTEGER,
    error_class TEXT NOT NULL DEFAULT '',
    error_code TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (run, stream)
);

CREATE TABLE positions (
    integration TEXT NOT NULL,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    confirmed TEXT,
    read TEXT,
    run TEXT,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (integration, stream)
);

-- Where earlier runs left a stream, and what a reset forgot.
CREATE TABLE position_history (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    integration TEXT NOT NULL,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    confirmed TEXT,
    read TEXT,
    run TEXT,
    updated_ms INTEGER NOT NULL
);
CREATE INDEX position_history_sync ON position_history (integration, stream, number);

-- Small rows, so that a million of them are scanned quickly; what is large lies in dead_letter_bodies.
-- `live` marks rows that a new failure or a new version of the same record concerns.
-- `rank` orders the versions of one record (integration, stream, record_key) as they were last read; an edit has
-- the rank of its original. 0 for records without a key. `newer_written`: the target was given a later version
-- while this one could not be superseded (it was on its way, discarded or edited), so it must not follow it.
CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    live INTEGER NOT NULL,
    direction TEXT NOT NULL,
    profile TEXT NOT NULL,
    platform TEXT NOT NULL,
    integration TEXT NOT NULL,
    stream TEXT NOT NULL,
    run TEXT NOT NULL,
    manifest_version TEXT NOT NULL,
    record_key TEXT NOT NULL,
    rank INTEGER NOT NULL DEFAULT 0,
    newer_written INTEGER NOT NULL DEFAULT 0,
    content_hash TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    error_class TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    field TEXT NOT NULL,
    hint TEXT NOT NULL,
    parent TEXT,
    occurrences INTEGER NOT NULL DEFAULT 1,
    attempts INTEGER NOT NULL DEFAULT 0,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL,
    resolved_ms INTEGER,
    size INTEGER NOT NULL,
    row_hash TEXT NOT NULL
);
CREATE INDEX dead_letters_scope ON dead_letters (state, platform, integration, stream);
CREATE INDEX dead_letters_fingerprint ON dead_letters (fingerprint, state);
CREATE INDEX dead_letters_run ON dead_letters (run, state);
CREATE INDEX dead_letters_record ON dead_letters (integration, stream, record_key) WHERE live = 1;
CREATE INDEX dead_letters_edited ON dead_letters (content_hash) WHERE state = 'edited';
CREATE INDEX dead_letters_resolved ON dead_letters (resolved_ms) WHERE resolved_ms IS NOT NULL;
CREATE INDEX dead_letters_parent ON dead_letters (parent) WHERE parent IS NOT NULL;

CREATE TABLE dead_letter_bodies (
    number INTEGER PRIMARY KEY REFERENCES dead_letters (number) ON DELETE CASCADE,
    payload BLOB NOT NULL,
    request TEXT,
    response TEXT
);

-- One row per fingerprint; its counts are kept by the transactions that change dead letters.
CREATE TABLE issues (
    fingerprint TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    platform TEXT NOT NULL,
    profile TEXT NOT NULL,
    integration TEXT NOT NULL,
    stream TEXT NOT NULL,
    error_class TEXT NOT NULL,
    code TEXT NOT NULL,
    field TEXT NOT NULL,
    message TEXT NOT NULL,
    hint TEXT NOT NULL,
    open INTEGER NOT NULL,
    total INTEGER NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL
);

CREATE TABLE attempts (
    dead_letter TEXT NOT NULL REFERENCES dead_letters (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    trigger TEXT NOT NULL,
    job TEXT,
    idempotency_key TEXT NOT NULL,
    outcome TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    code TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    request TEXT,
    response TEXT,
    PRIMARY KEY (dead_letter, number)
);

CREATE TABLE replay_jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    trigger TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    total INTEGER NOT NULL DEFAULT 0,
    succeeded INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    unknown INTEGER NOT NULL DEFAULT 0,
    superseded INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    command TEXT UNIQUE
);
CREATE INDEX replay_jobs_unfinished ON replay_jobs (number) WHERE ended_ms IS NULL;

-- `was` is the dead letter's state before it was claimed, for an item that is given back unsent.
CREATE TABLE replay_items (
    job TEXT NOT NULL REFERENCES replay_jobs (id) ON DELETE CASCADE,
    dead_letter TEXT NOT NULL REFERENCES dead_letters (id),
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    was TEXT NOT NULL DEFAULT 'open',
    trigger TEXT NOT NULL,
    worker TEXT,
    idempotency_key TEXT NOT NULL,
    PRIMARY KEY (job, dead_letter)
);
CREATE INDEX replay_items_state ON replay_items (job, state, number);
CREATE UNIQUE INDEX replay_items_one_job ON replay_items (dead_letter) WHERE state IN ('pending', 'sending');
CREATE INDEX replay_items_letter ON replay_items (dead_letter);

CREATE TABLE commands (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    args TEXT NOT NULL,
    actor TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    result TEXT,
    error TEXT,
    ended_ms INTEGER
);
CREATE INDEX commands_pending ON commands (number) WHERE state = 'pending';

CREATE TABLE workers (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    heartbeat_ms INTEGER NOT NULL
);

-- `span_ms` is a minute, an hour or a day: older rows are rolled up.
CREATE TABLE metrics (
    span_ms INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    platform TEXT NOT NULL,
    profile TEXT NOT NULL,
    operation TEXT NOT NULL,
    worker TEXT NOT NULL,
    count INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    histogram BLOB NOT NULL,
    PRIMARY KEY (span_ms, start_ms, platform, profile, operation, worker)
);

CREATE TABLE limits (
    key TEXT NOT NULL PRIMARY KEY,
    next_ms REAL NOT NULL,
    blocked_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
);
