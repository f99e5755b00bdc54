package queue

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
)

// Dump writes every row of jobs, operations and sessions as a line of text, in
// an order that depends on nothing but the rows: stores that applied the same
// commands give the same dump, however the commands were grouped.
func (s *Store) Dump(ctx context.Context, to io.Writer) error {
	tx, _, err := s.snapshot(ctx)
	if err != nil {
		return fmt.Errorf("dump queue: %w", err)
	}
	defer tx.Rollback()
	w := bufio.NewWriter(to)
	for _, q := range [...]string{
		"SELECT 'job', * FROM jobs ORDER BY seq",
		"SELECT 'operation', * FROM operations ORDER BY job, id",
		"SELECT 'session', * FROM sessions ORDER BY id",
		"SELECT 'last', applied_time, next_seq FROM meta",
	} {
		if err := dumpRows(ctx, tx, q, w); err != nil {
			return fmt.Errorf("dump queue: %w", err)
		}
	}
	return w.Flush()
}

func dumpRows(ctx context.Context, tx *sql.Tx, query string, w io.Writer) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s", values[0])
		for i, v := range values[1:] {
			fmt.Fprintf(w, " %s=%q", columns[i+1], fmt.Sprint(v))
		}
		fmt.Fprintln(w)
	}
	return rows.Err()
}
