-- The version of the integration that a dead letter failed with.
ALTER TABLE dead_letters ADD COLUMN integration_version INTEGER;
-- `bin`: record (this record is at fault) or systemic (the target, the credential, the network is).
ALTER TABLE dead_letters ADD COLUMN bin TEXT GENERATED ALWAYS AS (iif(error_class = 'record', 'record', 'systemic')) VIRTUAL;
ALTER TABLE issues ADD COLUMN bin TEXT GENERATED ALWAYS AS (iif(error_class = 'record', 'record', 'systemic')) VIRTUAL;

-- What a person wrote about an issue, and until when, or up to which total, it is ignored.
ALTER TABLE issues ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE issues ADD COLUMN ignored_until_ms INTEGER;
ALTER TABLE issues ADD COLUMN ignored_until_total INTEGER;

-- How many failures an issue had in each hour.
CREATE TABLE issue_hours (
    fingerprint TEXT NOT NULL REFERENCES issues (fingerprint) ON DELETE CASCADE,
    hour_ms INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, hour_ms)
) WITHOUT ROWID;
CREATE INDEX issue_hours_old ON issue_hours (hour_ms);

CREATE INDEX dead_letters_key ON dead_letters (record_key);
CREATE INDEX dead_letters_seen ON dead_letters (last_seen_ms);
CREATE INDEX dead_letters_profile ON dead_letters (profile, state);
CREATE INDEX dead_letters_class ON dead_letters (bin, state, error_class);
CREATE INDEX dead_letters_others ON dead_letters (direction) WHERE direction <> 'record';
CREATE INDEX dead_letters_code ON dead_letters (code, state);

-- The words of key, code, message and the first 64 KiB of the payload: an index without the text itself, about a
-- sixth of its size. It is kept by the code that adds and removes dead letters: a schema that is not trusted allows
-- no trigger to do it.
CREATE VIRTUAL TABLE dead_letter_words USING fts5 (
    words, content = '', detail = none, columnsize = 0, tokenize = "unicode61 tokenchars '_'"
);
INSERT INTO dead_letter_words (rowid, words)
    SELECT d.number, d.record_key || ' ' || d.code || ' ' || d.message || ' ' || CAST(substr(b.payload, 1, 65536) AS TEXT)
    FROM dead_letters AS d JOIN dead_letter_bodies AS b ON b.number = d.number;
