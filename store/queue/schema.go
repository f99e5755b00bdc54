package queue

import (
	"context"
	"fmt"
)

// migrations bring a database from version i to i+1 (user_version). Those that
// were released are never changed.
//
// Times are Unix times in nanoseconds, 0 for never. Indexes are few, since each
// costs every submit: the one on completed_at finds what is unfinished (0, in
// the order of queueing), what to prune, and what was completed last.
var migrations = [...]string{
	`
CREATE TABLE meta (
	one           INTEGER PRIMARY KEY CHECK (one = 1),
	applied_index INTEGER NOT NULL,
	applied_time  INTEGER NOT NULL,
	next_seq      INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (1, 0, 0, 1);

CREATE TABLE jobs (
	seq           INTEGER PRIMARY KEY, -- in the order of queueing
	id            TEXT    NOT NULL,
	instance      TEXT    NOT NULL,
	action        TEXT    NOT NULL,    -- [function/]hash/size
	command       TEXT    NOT NULL,
	priority      INTEGER NOT NULL,
	matched       TEXT    NOT NULL,    -- [["name","value"],...]
	carried       TEXT    NOT NULL,
	timeout       INTEGER NOT NULL,    -- nanoseconds
	do_not_cache  INTEGER NOT NULL,
	stage         INTEGER NOT NULL,
	attempt       INTEGER NOT NULL,
	failures      INTEGER NOT NULL,
	losses        INTEGER NOT NULL,
	history       TEXT    NOT NULL,    -- ["line",...]
	session_id    TEXT    NOT NULL,    -- while it executes
	bot_id        TEXT    NOT NULL,
	front         INTEGER NOT NULL,
	queued_at     INTEGER NOT NULL,
	started_at    INTEGER NOT NULL,
	completed_at  INTEGER NOT NULL,
	response_blob TEXT    NOT NULL,    -- digest, when the response is in the CAS
	response      BLOB    NOT NULL     -- ExecuteResponse
) STRICT;
CREATE UNIQUE INDEX jobs_id ON jobs (id);
CREATE INDEX jobs_completed ON jobs (completed_at);

CREATE TABLE operations (
	job                       INTEGER NOT NULL, -- jobs.seq
	id                        TEXT    NOT NULL,
	client                    TEXT    NOT NULL,
	created_at                INTEGER NOT NULL,
	cancelled                 INTEGER NOT NULL,
	invocation_id             TEXT    NOT NULL, -- this and what follows up to request_metadata: its fields, to filter by
	correlated_invocations_id TEXT    NOT NULL,
	tool_name                 TEXT    NOT NULL,
	tool_version              TEXT    NOT NULL,
	action_mnemonic           TEXT    NOT NULL,
	target_id                 TEXT    NOT NULL,
	configuration_id          TEXT    NOT NULL,
	request_metadata          BLOB    NOT NULL,
	response                  BLOB    NOT NULL, -- of one that was cancelled while its job went on
	PRIMARY KEY (job, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX operations_id ON operations (id);

CREATE TABLE sessions (
	id         TEXT    PRIMARY KEY,
	instance   TEXT    NOT NULL,
	bot_id     TEXT    NOT NULL,
	properties TEXT    NOT NULL,
	capacity   INTEGER NOT NULL,
	local      INTEGER NOT NULL,
	node_id    TEXT    NOT NULL,
	draining   INTEGER NOT NULL,
	opened_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`,
}

// migrate brings the schema up to date, each step in a transaction of its own.
func (w *writer) migrate(ctx context.Context) error {
	var version int64
	if err := w.queryRow(ctx, "PRAGMA user_version", nil, &version); err != nil {
		return err
	}
	if version > int64(len(migrations)) {
		return fmt.Errorf("its schema has version %d, and this build knows up to %d: a newer bgrid-node wrote it", version, len(migrations))
	}
	for ; version < int64(len(migrations)); version++ {
		step := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA user_version = %d; COMMIT", migrations[version], version+1)
		if err := w.run(ctx, step); err != nil {
			return fmt.Errorf("migrate to schema version %d: %w", version+1, err)
		}
	}
	return nil
}
