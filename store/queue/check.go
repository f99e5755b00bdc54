package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// rules are what must hold in every committed state. Each query returns the ids
// of what breaks the rule.
var rules = [...]struct{ name, sql string }{
	{"each operation has its job", "SELECT o.id FROM operations o LEFT JOIN jobs j ON j.seq = o.job WHERE j.seq IS NULL"},
	{"a job that is not completed has an operation that is not cancelled", `SELECT id FROM jobs WHERE stage < 4
		AND NOT EXISTS (SELECT 1 FROM operations WHERE job = jobs.seq AND cancelled = 0)`},
	{"the stage is queued, executing or completed", "SELECT id FROM jobs WHERE stage NOT IN (2, 3, 4)"},
	{"a job is completed when it has a time of that", "SELECT id FROM jobs WHERE (stage = 4) != (completed_at > 0)"},
	{"a job is executing when it has a session", "SELECT id FROM jobs WHERE (stage = 3) != (session_id != '')"},
	{"the session of an executing job is open", `SELECT id FROM jobs WHERE stage = 3
		AND session_id NOT IN (SELECT id FROM sessions)`},
	{"each attempt but the last ended in a requeue", `SELECT id FROM jobs WHERE CASE stage
		WHEN 2 THEN attempt != failures + losses
		WHEN 3 THEN attempt != failures + losses + 1
		ELSE attempt NOT IN (failures + losses, failures + losses + 1) END`},
	{"an attempt has a worker and a time", "SELECT id FROM jobs WHERE attempt > 0 AND started_at = 0 OR attempt = 0 AND (started_at > 0 OR bot_id != '')"},
	{"a requeued job goes to the front", "SELECT id FROM jobs WHERE front != (failures + losses > 0)"},
	{"only a completed job has a response", "SELECT id FROM jobs WHERE stage < 4 AND (response != x'' OR response_blob != '')"},
	{"a response is inline or a blob", "SELECT id FROM jobs WHERE response != x'' AND response_blob != ''"},
	{"only a cancelled operation has a response", "SELECT id FROM operations WHERE cancelled = 0 AND response != x''"},
	{"nothing starts before it was queued", "SELECT id FROM jobs WHERE started_at > 0 AND started_at < queued_at"},
	{"nothing is completed before it started", "SELECT id FROM jobs WHERE completed_at > 0 AND completed_at < max(queued_at, started_at)"},
	{"nothing is later than the applied time", "SELECT id FROM jobs, meta WHERE max(queued_at, started_at, completed_at) > applied_time"},
	{"numbers are given once", "SELECT id FROM jobs, meta WHERE seq >= next_seq"},
}

// Check proves the rules of the store: SQLite's own, this package's, and that
// memory and tables say the same. It reads everything: it is for fsck and for
// tests. An error wraps ErrInconsistent, with one line for each rule broken.
func (s *Store) Check(ctx context.Context) error {
	tx, inMemory, err := s.snapshot(ctx)
	if err != nil {
		return fmt.Errorf("check queue: %w", err)
	}
	defer tx.Rollback()
	var broken []error
	for _, r := range rules {
		ids, err := column(ctx, tx, r.sql+" LIMIT 5")
		if err != nil {
			return fmt.Errorf("check queue: %s: %w", r.name, err)
		}
		if len(ids) > 0 {
			broken = append(broken, fmt.Errorf("%w: %s: broken by %q", ErrInconsistent, r.name, ids))
		}
	}
	damage, err := column(ctx, tx, "PRAGMA integrity_check(5)")
	if err != nil {
		return fmt.Errorf("check queue: %w", err)
	}
	if !slices.Equal(damage, []string{"ok"}) {
		broken = append(broken, fmt.Errorf("%w: SQLite says %q", ErrInconsistent, damage))
	}
	onDisk, err := loadLive(ctx, tx)
	if err != nil {
		return fmt.Errorf("check queue: %w", err)
	}
	return errors.Join(append(broken, compare(inMemory, onDisk)...)...)
}

// snapshot returns a read transaction and the memory's state of the same moment.
func (s *Store) snapshot(ctx context.Context) (*sql.Tx, live, error) {
	w, err := s.Begin(ctx) // nothing commits meanwhile
	if err != nil {
		return nil, live{}, err
	}
	defer w.Rollback()
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, live{}, err
	}
	if _, err := loadMeta(ctx, tx); err != nil { // the first read fixes what the transaction sees
		return nil, live{}, errors.Join(err, tx.Rollback())
	}
	l := live{jobs: maps.Clone(s.live.jobs), ops: maps.Clone(s.live.ops), sessions: maps.Clone(s.live.sessions)}
	l.held = map[string]map[string]struct{}{}
	for id, jobs := range s.live.held {
		l.held[id] = maps.Clone(jobs)
	}
	return tx, l, nil
}

// compare returns where memory and tables differ.
func compare(inMemory, onDisk live) []error {
	var broken []error
	differ := func(what string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			broken = append(broken, fmt.Errorf("%w: memory and tables differ in %s: %+v and %+v", ErrInconsistent, what, a, b))
		}
	}
	for _, id := range keys(inMemory.jobs, onDisk.jobs) {
		a, b := inMemory.jobs[id], onDisk.jobs[id]
		if a == nil || b == nil {
			differ("job "+id, a != nil, b != nil)
			continue
		}
		differ("job "+id, *a.Job, *b.Job)
		differ("the number of job "+id, a.seq, b.seq)
		differ("the number of operations of job "+id, len(a.ops), len(b.ops))
	}
	for _, id := range keys(inMemory.ops, onDisk.ops) {
		differ("operation "+id, inMemory.ops[id], onDisk.ops[id])
	}
	for _, id := range keys(inMemory.sessions, onDisk.sessions) {
		differ("session "+id, inMemory.sessions[id], onDisk.sessions[id])
	}
	differ("who has which job", inMemory.held, onDisk.held)
	return broken
}

// keys returns the keys of both maps, sorted.
func keys[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// column returns the first column of a query.
func column(ctx context.Context, tx *sql.Tx, query string) ([]string, error) {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}
