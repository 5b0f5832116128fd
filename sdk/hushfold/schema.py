"""The tables of the store. `MIGRATIONS[v]` takes a store of version v to version v + 1; a new one starts at 0.

Only ever append: an old store on some device starts from any of these versions.
"""

from __future__ import annotations

_VERSION_1 = (
    """CREATE TABLE messages (
        id       INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given out twice
        text     TEXT NOT NULL,                      -- redacted
        typed_at REAL NOT NULL                       -- unix seconds; the retention time counts from here
    )""",
    "CREATE INDEX messages_by_time ON messages (typed_at, id)",
    """CREATE TABLE training_sessions (
        task           TEXT PRIMARY KEY,  -- one session of a task at a time
        identity       BLOB NOT NULL,     -- 32 bytes, hash of what the session trains, from where and on which messages
        newest_message INTEGER NOT NULL,  -- id; later messages are not of this session
        step           INTEGER NOT NULL,  -- SGD steps done
        vector         BLOB NOT NULL      -- the trained part after those steps, little-endian float32
    )""",
    """CREATE TABLE contributions (
        round_id       BLOB PRIMARY KEY,  -- 16 bytes
        population     TEXT NOT NULL,
        task           TEXT NOT NULL,
        round_number   INTEGER NOT NULL,
        model_sha256   BLOB NOT NULL,     -- 32 bytes, of the vector that training started from
        cohort         INTEGER NOT NULL,  -- devices in the session
        floor          INTEGER NOT NULL,  -- survivors below which nothing is opened
        clip_norm      REAL NOT NULL,     -- L2, in units of the weights
        noise_stddev   REAL NOT NULL,     -- this device's share of the noise per value, in units of the weights
        delta          REAL NOT NULL,     -- of the guarantee that the plan states
        curve          BLOB NOT NULL,     -- Renyi DP of this round alone, RdpCurve as bytes
        bytes_sent     INTEGER NOT NULL,  -- length of the masked update
        payload_sha256 BLOB NOT NULL,     -- 32 bytes, of the masked update
        charged_at     REAL NOT NULL,     -- unix seconds by this device's clock
        state          TEXT NOT NULL      -- ContributionState
    )""",
    """CREATE TABLE budget (
        population TEXT PRIMARY KEY,
        curve      BLOB NOT NULL  -- Renyi DP of every contribution so far, RdpCurve as bytes; it only grows
    )""",
    """CREATE TABLE settings (
        name  TEXT PRIMARY KEY,
        value BLOB NOT NULL  -- what is chosen or made once; survives a wipe
    )""",
    """CREATE TABLE learned (
        name  TEXT PRIMARY KEY,
        value BLOB NOT NULL  -- what was trained on the messages and is in use; goes with any of them
    )""",
    """CREATE TABLE personal_words (
        word      TEXT PRIMARY KEY,  -- lower-case
        form      TEXT NOT NULL,     -- as the user writes it
        lead      INTEGER NOT NULL,  -- how much more often than others this form was written lately, within bounds
        sightings INTEGER NOT NULL,
        decision  TEXT,              -- a Standing that the user has given it
        seen_at   REAL NOT NULL      -- unix seconds, when it was last written or decided on
    )""",
    """CREATE TABLE savings (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        taps     INTEGER NOT NULL,  -- keys that suggestions have spared the user
        taken    INTEGER NOT NULL,  -- suggestions that were taken
        since    REAL NOT NULL      -- unix seconds, when the first was
    )""",
)

_VERSION_2 = (
    """CREATE TABLE recordings (
        id        INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given out twice
        word      TEXT,              -- name of a taught word, or of a base command; NULL: nobody said a command
        kind      TEXT NOT NULL,     -- voice.recordings.Kind
        spoken_at REAL NOT NULL,     -- unix seconds; the time to live counts from here
        frames    INTEGER NOT NULL,  -- of 10 ms
        features  BLOB NOT NULL      -- log-mel, frames x 40 little-endian float16; last, as it fills many pages
    )""",
    "CREATE INDEX recordings_by_time ON recordings (kind, spoken_at, id)",
    """CREATE TABLE recording_changes (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        changes  INTEGER NOT NULL  -- recordings that came, went or got another name, ever, by whichever process
    )""",
    "INSERT INTO recording_changes VALUES (1, 0)",
    """CREATE TRIGGER recordings_come AFTER INSERT ON recordings BEGIN
        UPDATE recording_changes SET changes = changes + 1;
    END""",
    """CREATE TRIGGER recordings_change AFTER UPDATE ON recordings BEGIN
        UPDATE recording_changes SET changes = changes + 1;
    END""",
    """CREATE TRIGGER recordings_go AFTER DELETE ON recordings BEGIN
        UPDATE recording_changes SET changes = changes + 1;
    END""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1, _VERSION_2)
