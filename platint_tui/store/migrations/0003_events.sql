-- What arrived, exactly as it arrived. The body is the last column: a list does not read it.
-- `part`: its place in a request that had several events; `seen`: how often the source sent it.
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    profile TEXT NOT NULL,
    platform TEXT NOT NULL,
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    order_key TEXT NOT NULL,
    occurred_ms INTEGER,
    received_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    origin TEXT NOT NULL,
    verified_by TEXT NOT NULL,
    part INTEGER,
    seen INTEGER NOT NULL DEFAULT 1,
    last_seen_ms INTEGER NOT NULL,
    method TEXT NOT NULL,
    target TEXT NOT NULL,
    headers TEXT NOT NULL,
    size INTEGER NOT NULL,
    row_hash TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX events_once ON events (profile, event_id);
CREATE INDEX events_new ON events (profile, number) WHERE state = 'new';
CREATE INDEX events_listed ON events (profile, state, type, received_ms);

-- Requests that were refused; equal ones within a while are counted, so that a flood fills no disk.
CREATE TABLE rejections (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    profile TEXT NOT NULL,
    cause TEXT NOT NULL,
    message TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    times INTEGER NOT NULL DEFAULT 1,
    method TEXT NOT NULL,
    target TEXT NOT NULL,
    headers TEXT NOT NULL,
    steps TEXT NOT NULL,
    truncated INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX rejections_source ON rejections (profile, number);

-- Whether the webhooks of a profile are delivered, kept, or refused; counts are kept by what changes them.
CREATE TABLE sources (
    profile TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    changed_ms INTEGER NOT NULL,
    events INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    last_ms INTEGER
);

-- One event on its way to one stream of one integration. `place` is where it is being sent, primary or fallback;
-- `fallback_ms`: since when it lies in the fallback target. `waited_ms` is the sum of its waits between attempts.
-- `raw` is the record's text while it may still be sent; a dead letter has its own. `partial`: it has some fields only,
-- and the whole record is fetched before anything is sent.
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    event_number INTEGER NOT NULL,
    profile TEXT NOT NULL,
    occurred_ms INTEGER,
    received_ms INTEGER NOT NULL,
    integration TEXT NOT NULL,
    version INTEGER NOT NULL,
    stream TEXT NOT NULL,
    record_key TEXT NOT NULL,
    state TEXT NOT NULL,
    place TEXT NOT NULL DEFAULT 'primary',
    attempts INTEGER NOT NULL DEFAULT 0,
    waited_ms INTEGER NOT NULL DEFAULT 0,
    idempotency_key TEXT NOT NULL,
    worker TEXT,
    next_ms INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    fallback_ms INTEGER,
    dead_letter TEXT,
    code TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    op TEXT NOT NULL DEFAULT '',
    partial INTEGER NOT NULL DEFAULT 0,
    raw BLOB
);
CREATE UNIQUE INDEX deliveries_once ON deliveries (event, integration, stream, record_key);
CREATE INDEX deliveries_waiting ON deliveries (integration, stream, event_number, number)
    WHERE state IN ('pending', 'sending', 'fallback');
CREATE INDEX deliveries_record ON deliveries (integration, stream, record_key, occurred_ms, event_number);
CREATE INDEX deliveries_before ON deliveries (integration, stream, record_key, event_number, number)
    WHERE state IN ('pending', 'sending', 'fallback');
CREATE INDEX deliveries_event ON deliveries (event_number);
CREATE INDEX deliveries_ended ON deliveries (ended_ms) WHERE ended_ms IS NOT NULL;

-- Why nothing is delivered for a stream of an integration at present, and when it is tried again.
CREATE TABLE delivery_holds (
    integration TEXT NOT NULL,
    stream TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (integration, stream)
);

-- The circuit breaker of each target that failed lately, as the engine that delivers to it has it.
CREATE TABLE breakers (
    profile TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    failures INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    message TEXT NOT NULL
);

-- Webhooks that are registered at a platform; their secrets are in the vault. `command` is what asked for it.
CREATE TABLE subscriptions (
    id TEXT NOT NULL PRIMARY KEY,
    profile TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    url TEXT NOT NULL,
    types TEXT NOT NULL,
    scope TEXT NOT NULL,
    state TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    checked_ms INTEGER,
    command TEXT NOT NULL,
    error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX subscriptions_profile ON subscriptions (profile);

-- Gaps of webhooks have a profile and no run. `end_ms` is NULL while one goes on, `compared_ms` up to when the
-- platform's list was compared with what is here.
ALTER TABLE gaps ADD COLUMN kind TEXT NOT NULL DEFAULT 'reading';
ALTER TABLE gaps ADD COLUMN state TEXT NOT NULL DEFAULT 'open';
ALTER TABLE gaps ADD COLUMN profile TEXT NOT NULL DEFAULT '';
ALTER TABLE gaps ADD COLUMN start_ms INTEGER;
ALTER TABLE gaps ADD COLUMN end_ms INTEGER;
ALTER TABLE gaps ADD COLUMN compared_ms INTEGER;
ALTER TABLE gaps ADD COLUMN ended_ms INTEGER;
ALTER TABLE gaps ADD COLUMN note TEXT NOT NULL DEFAULT '';
CREATE INDEX gaps_open ON gaps (profile, kind) WHERE state IN ('open', 'filling');

-- What a platform sent, or tried to, and was not here when its list was compared: each in one gap.
CREATE TABLE missed_events (
    profile TEXT NOT NULL,
    event_id TEXT NOT NULL,
    gap INTEGER NOT NULL REFERENCES gaps (number) ON DELETE CASCADE,
    type TEXT NOT NULL,
    time_ms INTEGER,
    delivery_id TEXT NOT NULL,
    subscription TEXT NOT NULL,
    state TEXT NOT NULL,
    asked_ms INTEGER,
    message TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (profile, event_id)
);
CREATE INDEX missed_events_gap ON missed_events (gap, state);

-- What asks for somebody's attention.
CREATE TABLE alerts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    severity TEXT NOT NULL,
    subject TEXT NOT NULL,
    text TEXT NOT NULL,
    times INTEGER NOT NULL DEFAULT 1,
    last_ms INTEGER NOT NULL,
    acknowledged_ms INTEGER
);
CREATE INDEX alerts_open ON alerts (subject) WHERE acknowledged_ms IS NULL;
