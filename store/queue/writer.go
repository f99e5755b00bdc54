package queue

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"modernc.org/sqlite"
)

// writer is the one connection that writes. It speaks to the driver itself:
// database/sql costs a third of the time of a small statement.
type writer struct {
	conn driver.Conn
	all  []*stmt

	begin, commit, rollback *stmt
	saveMeta                *stmt

	insertJob, insertOperation, insertSession   *stmt
	assign, move, requeue, complete, prioritise *stmt
	cancelOperation, deleteOperation            *stmt
	updateSession, deleteSession                *stmt
	findJob, findOperation                      *stmt
	pruneOperations, pruneJobs                  *stmt
}

// openWriter opens the connection, migrates the schema and prepares the
// statements.
func openWriter(ctx context.Context, path string, lazy bool) (*writer, error) {
	sync := "synchronous(FULL)"
	if lazy {
		sync = "synchronous(NORMAL)"
	}
	c, err := sqlite.NewConnector(dsn(path, "journal_mode(WAL)", sync, "cache_size(-8192)",
		"temp_store(memory)", "journal_size_limit(67108864)"))
	if err != nil {
		return nil, err
	}
	conn, err := c.Connect(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn}
	if err := w.migrate(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	if err := w.prepare(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *writer) prepare(ctx context.Context) error {
	for _, p := range []struct {
		to  **stmt
		sql string
	}{
		{&w.begin, "BEGIN IMMEDIATE"},
		{&w.commit, "COMMIT"},
		{&w.rollback, "ROLLBACK"},
		{&w.saveMeta, "UPDATE meta SET applied_index = ?, applied_time = ?, next_seq = ?"},
		{&w.insertJob, "INSERT INTO jobs VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"},
		{&w.insertOperation, "INSERT INTO operations VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"},
		{&w.insertSession, "INSERT INTO sessions VALUES (?,?,?,?,?,?,?,?,?)"},
		{&w.assign, "UPDATE jobs SET stage = 3, attempt = ?, session_id = ?, bot_id = ?, started_at = ? WHERE seq = ?"},
		{&w.move, "UPDATE jobs SET session_id = ?, bot_id = ? WHERE seq = ?"},
		{&w.requeue, "UPDATE jobs SET stage = 2, session_id = '', failures = ?, losses = ?, history = ?, front = 1 WHERE seq = ?"},
		{&w.complete, "UPDATE jobs SET stage = 4, session_id = '', completed_at = ?, response_blob = ?, response = ? WHERE seq = ?"},
		{&w.prioritise, "UPDATE jobs SET priority = ? WHERE seq = ?"},
		{&w.cancelOperation, "UPDATE operations SET cancelled = 1, response = ? WHERE job = ? AND id = ?"},
		{&w.deleteOperation, "DELETE FROM operations WHERE id = ?"},
		{&w.updateSession, "UPDATE sessions SET draining = ? WHERE id = ?"},
		{&w.deleteSession, "DELETE FROM sessions WHERE id = ?"},
		{&w.findJob, "SELECT 1 FROM jobs WHERE id = ?"},
		{&w.findOperation, "SELECT 1 FROM operations WHERE id = ?"},
		{&w.pruneOperations, "DELETE FROM operations WHERE job IN (" + prunable + ")"},
		{&w.pruneJobs, "DELETE FROM jobs WHERE seq IN (" + prunable + ")"},
	} {
		s, err := w.statement(ctx, p.sql)
		if err != nil {
			return err
		}
		*p.to = s
	}
	return nil
}

// prunable selects the jobs that Prune forgets: parameters are the time and the
// limit.
const prunable = "SELECT seq FROM jobs WHERE completed_at > 0 AND completed_at < ? ORDER BY completed_at, seq LIMIT ?"

func (w *writer) statement(ctx context.Context, sql string) (*stmt, error) {
	s, err := w.prepareOnce(ctx, sql)
	if err != nil {
		return nil, err
	}
	w.all = append(w.all, s)
	return s, nil
}

// prepareOnce prepares a statement that is the caller's to close.
func (w *writer) prepareOnce(ctx context.Context, sql string) (*stmt, error) {
	ps, err := w.conn.(driver.ConnPrepareContext).PrepareContext(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", sql, err)
	}
	return &stmt{Stmt: ps}, nil
}

// run executes one or more statements without parameters.
func (w *writer) run(ctx context.Context, sql string) error {
	_, err := w.conn.(driver.ExecerContext).ExecContext(ctx, sql, nil)
	return err
}

// queryRow reads one row of integers.
func (w *writer) queryRow(ctx context.Context, sql string, args []driver.NamedValue, to ...*int64) error {
	rows, err := w.conn.(driver.QueryerContext).QueryContext(ctx, sql, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	vs := make([]driver.Value, len(to))
	if err := rows.Next(vs); err != nil {
		return err
	}
	for i, v := range vs {
		n, ok := v.(int64)
		if !ok {
			return fmt.Errorf("query %q: got %T, want a number", sql, v)
		}
		*to[i] = n
	}
	return nil
}

func (w *writer) close() error {
	var errs []error
	for _, s := range w.all {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}

// stmt is a prepared statement that keeps its list of arguments.
type stmt struct {
	driver.Stmt
	args []driver.NamedValue
}

// bind fills the arguments: int64, string, []byte, or nil.
func (s *stmt) bind(args []any) []driver.NamedValue {
	s.args = s.args[:0]
	for i, a := range args {
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return s.args
}

// exec runs the statement and returns how many rows it changed.
func (s *stmt) exec(args ...any) (int64, error) {
	r, err := s.Stmt.(driver.StmtExecContext).ExecContext(context.Background(), s.bind(args))
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// exists tells whether the statement gives a row.
func (s *stmt) exists(args ...any) (bool, error) {
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(context.Background(), s.bind(args))
	if err != nil {
		return false, err
	}
	defer rows.Close()
	switch err := rows.Next(make([]driver.Value, 1)); err {
	case nil:
		return true, nil
	case io.EOF:
		return false, nil
	default:
		return false, err
	}
}
