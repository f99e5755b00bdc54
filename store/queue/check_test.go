package queue

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestCheckBites damages the tables behind the store's back, once for each rule.
func TestCheckBites(t *testing.T) {
	for _, c := range []struct{ sql, want string }{
		{"DELETE FROM jobs WHERE id = 'done'", "each operation has its job"},
		{"UPDATE operations SET cancelled = 1 WHERE id = 'o-queued'", "has an operation that is not cancelled"},
		{"DELETE FROM operations WHERE id = 'o-queued'", "has an operation that is not cancelled"},
		{"UPDATE jobs SET stage = 5 WHERE id = 'done'", "the stage is queued, executing or completed"},
		{"UPDATE jobs SET completed_at = 0 WHERE id = 'done'", "completed when it has a time"},
		{"UPDATE jobs SET stage = 4 WHERE id = 'queued'", "completed when it has a time"},
		{"UPDATE jobs SET session_id = '' WHERE id = 'running'", "executing when it has a session"},
		{"UPDATE jobs SET session_id = 's' WHERE id = 'queued'", "executing when it has a session"},
		{"DELETE FROM sessions", "the session of an executing job is open"},
		{"UPDATE jobs SET attempt = 2 WHERE id = 'running'", "each attempt but the last ended"},
		{"UPDATE jobs SET attempt = 1 WHERE id = 'queued'", "each attempt but the last ended"},
		{"UPDATE jobs SET attempt = 3 WHERE id = 'done'", "each attempt but the last ended"},
		{"UPDATE jobs SET started_at = 0 WHERE id = 'running'", "an attempt has a worker and a time"},
		{"UPDATE jobs SET front = 1 WHERE id = 'queued'", "a requeued job goes to the front"},
		{"UPDATE jobs SET response = x'01' WHERE id = 'running'", "only a completed job has a response"},
		{"UPDATE jobs SET response_blob = action WHERE id = 'done'", "a response is inline or a blob"},
		{"UPDATE operations SET response = x'01' WHERE id = 'o-done'", "only a cancelled operation has a response"},
		{"UPDATE jobs SET queued_at = started_at + 1 WHERE id = 'running'", "nothing starts before it was queued"},
		{"UPDATE jobs SET completed_at = queued_at - 1 WHERE id = 'done'", "nothing is completed before it started"},
		{"UPDATE meta SET applied_time = 1", "nothing is later than the applied time"},
		{"UPDATE meta SET next_seq = 2", "numbers are given once"},
		{"UPDATE jobs SET priority = 9 WHERE id = 'queued'", "memory and tables differ in job queued"},
		{"UPDATE sessions SET draining = 1", "memory and tables differ in session s"},
		{"UPDATE operations SET client = 'x' WHERE id = 'o-running'", "memory and tables differ in operation o-running"},
	} {
		t.Run(c.sql, func(t *testing.T) {
			s := newStore(t)
			must(t, s, session("s"), submit("queued", "o-queued"), submit("running", "o-running"), assignTo("running", 1, "s"),
				submit("done", "o-done"), assignTo("done", 1, "s"), complete("done", 1, "s"))
			check(t, s)
			if err := s.w.run(context.Background(), c.sql); err != nil {
				t.Fatal(err)
			}
			err := s.Check(context.Background())
			if !errors.Is(err, ErrInconsistent) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}

// TestTablesThatMemoryContradictsAreLost: a change that touches another number of
// rows than one stops the group instead of going on beside the truth.
func TestTablesThatMemoryContradictsAreLost(t *testing.T) {
	s := newStore(t)
	must(t, s, session("s"), submit("j", "o"))
	if err := s.w.run(context.Background(), "DELETE FROM jobs"); err != nil {
		t.Fatal(err)
	}
	tx := begin(t, s)
	err := apply(tx, epoch, assignTo("j", 1, "s"))
	if !errors.Is(err, ErrInconsistent) || !errors.Is(tx.Err(), ErrInconsistent) {
		t.Errorf("assign: %v, %v", err, tx.Err())
	}
	if err := tx.Commit(9, epoch); !errors.Is(err, ErrInconsistent) {
		t.Errorf("commit: %v", err)
	}
	if s.AppliedIndex() != 2 {
		t.Errorf("index %d after a commit that failed", s.AppliedIndex())
	}
}
