//! Tables, and how a connection is set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

/// Schema versions in order; `PRAGMA user_version` counts how many have run.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE calls (
        id          TEXT PRIMARY KEY,
        body_hash   BLOB,               -- SHA-256 of the originate request; NULL for inbound calls
        accepted_at INTEGER NOT NULL,   -- unix ms
        call        TEXT NOT NULL,      -- the call as JSON: as accepted, then as ended
        status      TEXT,               -- the final status; NULL while open
        ended_seq   INTEGER,            -- order of ending; NULL while open
        ended_at    INTEGER             -- unix ms
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX calls_by_end ON calls (ended_seq) WHERE ended_seq IS NOT NULL;
    CREATE INDEX calls_open ON calls (accepted_at) WHERE ended_seq IS NULL;
    CREATE INDEX calls_by_end_time ON calls (ended_at) WHERE ended_at IS NOT NULL;
    CREATE INDEX calls_by_age ON calls (accepted_at, id);
    CREATE INDEX calls_by_status ON calls (status, accepted_at, id);
    CREATE TABLE answers (
        token       TEXT NOT NULL,      -- token id: keys of two tokens never meet
        key         TEXT NOT NULL,
        body_hash   BLOB NOT NULL,
        status      INTEGER NOT NULL,
        body        BLOB NOT NULL,
        stored_at   INTEGER NOT NULL,   -- unix ms
        PRIMARY KEY (token, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX answers_by_age ON answers (stored_at);
    CREATE TABLE prompts (
        name        TEXT PRIMARY KEY,
        id          TEXT NOT NULL,      -- SHA-256 of the uploaded bytes, hexadecimal
        prompt      TEXT NOT NULL       -- the resource as JSON
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX prompts_by_id ON prompts (id);
    CREATE TABLE flows (
        name        TEXT PRIMARY KEY,
        version     INTEGER NOT NULL,
        updated_at  INTEGER NOT NULL,   -- unix ms
        flow        TEXT NOT NULL       -- the document as JSON
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE endpoints (
        name        TEXT PRIMARY KEY,
        endpoint    TEXT NOT NULL       -- as JSON, with hashes in place of its password
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE trunks (
        name        TEXT PRIMARY KEY,
        settings    TEXT,               -- as JSON, with the password; NULL: the configuration file has them
        disabled    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE recordings (
        id          TEXT PRIMARY KEY,
        call_id     TEXT NOT NULL,
        started_at  INTEGER NOT NULL,   -- unix ms
        ended_at    INTEGER,            -- unix ms; NULL while it goes on
        recording   TEXT NOT NULL       -- the resource as JSON
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX recordings_by_age ON recordings (started_at, id);
    CREATE INDEX recordings_by_call ON recordings (call_id, started_at, id);
    CREATE INDEX recordings_by_end ON recordings (ended_at) WHERE ended_at IS NOT NULL;
    CREATE INDEX recordings_open ON recordings (started_at, id) WHERE ended_at IS NULL;
",
    "
    CREATE TABLE webhooks (
        id          TEXT PRIMARY KEY,
        webhook     TEXT NOT NULL       -- the resource as JSON, with its secret
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE call_webhooks (        -- webhook_url of calls: gone when the last event has been delivered
        call_id     TEXT PRIMARY KEY,
        url         TEXT NOT NULL,
        secret      TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE deliveries (           -- events that wait for web servers
        place       INTEGER PRIMARY KEY AUTOINCREMENT,
        webhook     TEXT,               -- NULL: to the call's own webhook_url
        call_id     TEXT,               -- whose event it is; NULL: no call's
        created_at  INTEGER NOT NULL,   -- unix ms
        attempts    INTEGER NOT NULL,   -- that have failed
        due_at      INTEGER NOT NULL,   -- unix ms
        event_id    TEXT NOT NULL,
        event       TEXT NOT NULL       -- as JSON
    ) STRICT;
    CREATE INDEX deliveries_by_webhook ON deliveries (webhook);
",
    "
    CREATE TABLE queues (
        name        TEXT PRIMARY KEY,
        version     INTEGER NOT NULL,
        updated_at  INTEGER NOT NULL,   -- unix ms
        queue       TEXT NOT NULL       -- the settings as JSON
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE answers ADD COLUMN location TEXT;
",
];

pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    keep_private(path);
    let mut db = Connection::open(path)?;
    // The one writer never waits for itself; a person with the sqlite3 shell may hold a lock for a moment.
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "normal")?;
    migrate(&mut db)?;
    Ok(db)
}

/// The journal has passwords of trunks and numbers of customers: a new one is for its owner alone. SQLite gives the files
/// beside it the same permissions.
fn keep_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt;
    // It is there already, or SQLite will say what is wrong.
    drop(std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
}

fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    let change = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let done: usize = change.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for step in MIGRATIONS.iter().skip(done) {
        change.execute_batch(step)?;
    }
    change.pragma_update(None, "user_version", MIGRATIONS.len().max(done))?;
    change.commit()
}
