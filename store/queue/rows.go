package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// The columns of each table in the order that its scan function takes them.
const (
	jobColumns = `j.seq, j.id, j.instance, j.action, j.command, j.priority, j.matched, j.carried, j.timeout, j.do_not_cache,
		j.stage, j.attempt, j.failures, j.losses, j.history, j.session_id, j.bot_id, j.front,
		j.queued_at, j.started_at, j.completed_at, j.response_blob, j.response`
	operationColumns = `o.id, o.client, o.created_at, o.cancelled, o.request_metadata, o.response`

	selectOperation  = "SELECT " + operationColumns + ", " + jobColumns + " FROM operations o JOIN jobs j ON j.seq = o.job WHERE o.id = ?"
	selectUnfinished = "SELECT " + operationColumns + ", " + jobColumns +
		" FROM jobs j JOIN operations o ON o.job = j.seq WHERE j.completed_at = 0 ORDER BY j.seq, o.id"
	selectSessions = "SELECT id, instance, bot_id, properties, capacity, local, node_id, draining, opened_at FROM sessions ORDER BY id"
	selectMeta     = "SELECT applied_index, applied_time, next_seq FROM meta"
)

// scanner is *sql.Row and *sql.Rows.
type scanner interface{ Scan(to ...any) error }

// rawJob takes the columns of a job that need decoding.
type rawJob struct {
	job                                   Job
	seq                                   int64
	action, matched, carried, history     string
	queued, started, completed            int64
	responseBlob                          string
	operation                             Operation
	created                               int64
	timeout, doNotCache, front, cancelled int64
}

// scanOperationJob reads a row of operationColumns and jobColumns.
func scanOperationJob(row scanner) (*Operation, *liveJob, error) {
	r := &rawJob{}
	j, o := &r.job, &r.operation
	if err := row.Scan(&o.ID, &o.Client, &r.created, &r.cancelled, &o.RequestMetadata, &o.Response,
		&r.seq, &j.ID, &j.Instance, &r.action, &j.Command, &j.Priority, &r.matched, &r.carried, &r.timeout, &r.doNotCache,
		&j.Stage, &j.Attempt, &j.Failures, &j.Losses, &r.history, &j.SessionID, &j.BotID, &r.front,
		&r.queued, &r.started, &r.completed, &r.responseBlob, &j.Response); err != nil {
		return nil, nil, err
	}
	if err := r.decode(); err != nil {
		return nil, nil, fmt.Errorf("%w: job %s: %w", ErrInconsistent, j.ID, err)
	}
	return o, &liveJob{Job: j, seq: r.seq}, nil
}

// decode fills in the job and the operation from the raw columns.
func (r *rawJob) decode() (err error) {
	j, o := &r.job, &r.operation
	o.JobID, o.Instance = j.ID, j.Instance
	o.CreatedAt, o.Cancelled = instant(r.created), r.cancelled != 0
	o.RequestMetadata, o.Response, j.Response = noneIfEmpty(o.RequestMetadata), noneIfEmpty(o.Response), noneIfEmpty(j.Response)
	j.Timeout, j.DoNotCache, j.Front = time.Duration(r.timeout), r.doNotCache != 0, r.front != 0
	j.QueuedAt, j.StartedAt, j.CompletedAt = instant(r.queued), instant(r.started), instant(r.completed)
	if j.Action, err = digest.Parse(r.action); err != nil {
		return err
	}
	if r.responseBlob != "" {
		if j.ResponseBlob, err = digest.Parse(r.responseBlob); err != nil {
			return err
		}
	}
	if j.Matched, err = decodeProperties(r.matched); err != nil {
		return err
	}
	if j.Carried, err = decodeProperties(r.carried); err != nil {
		return err
	}
	j.History, err = decodeStrings(r.history)
	return err
}

// loadLive reads what is unfinished.
func loadLive(ctx context.Context, tx *sql.Tx) (live, error) {
	l := newLive()
	rows, err := tx.QueryContext(ctx, selectUnfinished)
	if err != nil {
		return l, fmt.Errorf("load jobs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		o, j, err := scanOperationJob(rows)
		if err != nil {
			return l, fmt.Errorf("load jobs: %w", err)
		}
		if known := l.jobs[j.ID]; known != nil {
			j = known // a second operation of it
		} else {
			l.replace(j.ID, j)
		}
		j.ops = append(j.ops, o)
		l.ops[o.ID] = o
	}
	if err := rows.Err(); err != nil {
		return l, fmt.Errorf("load jobs: %w", err)
	}
	return l, loadSessions(ctx, tx, l.sessions)
}

func loadSessions(ctx context.Context, tx *sql.Tx, into map[string]*Session) error {
	rows, err := tx.QueryContext(ctx, selectSessions)
	if err != nil {
		return fmt.Errorf("load sessions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var s Session
		var properties string
		var local, draining, opened int64
		err := rows.Scan(&s.ID, &s.Instance, &s.BotID, &properties, &s.Capacity, &local, &s.NodeID, &draining, &opened)
		if err == nil {
			s.Properties, err = decodeProperties(properties)
		}
		if err != nil {
			return fmt.Errorf("load sessions: %w", err)
		}
		s.Local, s.Draining, s.OpenedAt = local != 0, draining != 0, instant(opened)
		into[s.ID] = &s
	}
	return rows.Err()
}

func loadMeta(ctx context.Context, tx *sql.Tx) (meta, error) {
	var m meta
	var index, at int64
	err := tx.QueryRowContext(ctx, selectMeta).Scan(&index, &at, &m.nextSeq)
	if errors.Is(err, sql.ErrNoRows) {
		return m, fmt.Errorf("%w: it has no row of meta", ErrInconsistent)
	}
	if err != nil {
		return m, fmt.Errorf("load meta: %w", err)
	}
	m.index, m.time = uint64(index), instant(at)
	return m, nil
}

// Unfinished returns the jobs that are not completed, in the order of their
// queueing, and their operations, each job's together.
func (s *Store) Unfinished(context.Context) ([]*Job, []*Operation, error) {
	s.mu.RLock()
	live := make([]*liveJob, 0, len(s.live.jobs))
	for _, j := range s.live.jobs {
		live = append(live, j)
	}
	s.mu.RUnlock()
	sortBySeq(live)
	jobs := make([]*Job, len(live))
	var ops []*Operation
	for i, j := range live {
		jobs[i] = j.Job
		ops = append(ops, j.ops...)
	}
	return jobs, ops, nil
}

// Sessions returns the open sessions in the order of their ids.
func (s *Store) Sessions(context.Context) ([]*Session, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return sessionsByID(s.live.sessions), nil
}

// Operation returns an operation and its job, finished ones too. ErrNotFound
// when there is none.
func (s *Store) Operation(ctx context.Context, id string) (*Operation, *Job, error) {
	s.mu.RLock()
	if o := s.live.ops[id]; o != nil {
		j := s.live.jobs[o.JobID]
		s.mu.RUnlock()
		return o, j.Job, nil
	}
	s.mu.RUnlock()
	o, j, err := scanOperationJob(s.byID.QueryRowContext(ctx, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, fmt.Errorf("%w: operation %s", ErrNotFound, id)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read operation %s: %w", id, s.readError(err))
	}
	return o, j.Job, nil
}
