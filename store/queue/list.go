package queue

import (
	"context"
	"fmt"
	"strings"

	"github.com/bgrid-node/bgrid-node/store/queue/filter"
)

// MaxPageSize is the largest page that List returns.
const MaxPageSize = 1000

// ListQuery says which operations to list.
type ListQuery struct {
	Instance  string
	Filter    filter.Filter // as given: the default of ListOperations is Filter.OrUnfinished
	PageSize  int           // 0: MaxPageSize
	PageToken string        // empty, or what the page before returned for the same instance and filter
}

// List returns operations with their jobs, finished ones too, in the order that
// the filter asks for (by default that of queueing), and the token of the next
// page, empty at the end. Pages do not repeat or skip rows that stay as they
// are. Errors wrap ErrBadPageSize or ErrBadPageToken for what the client did.
//
// Texts compare by their bytes. An operation that was not started or completed
// matches no term on that time; a missing text is the empty one. A platform
// term with != is for jobs that have the property with another value.
func (s *Store) List(ctx context.Context, q ListQuery) (rows []OperationJob, next string, err error) {
	size := q.PageSize
	if size == 0 {
		size = MaxPageSize
	}
	if size < 0 || size > MaxPageSize {
		return nil, "", fmt.Errorf("%w: %d is not in 1 to %d", ErrBadPageSize, q.PageSize, MaxPageSize)
	}
	order := sortColumns(q.Filter.Order)
	sql, args, err := listSQL(q, order, size)
	if err != nil {
		return nil, "", err
	}
	result, err := s.readers.QueryContext(ctx, sql, args...)
	if err != nil {
		return nil, "", fmt.Errorf("list operations: %w", s.readError(err))
	}
	defer result.Close()
	var last *liveJob
	for result.Next() {
		if len(rows) == size { // one more than the page: there is another
			next = makeToken(q, order, rows[size-1].Operation, last)
			break
		}
		o, j, err := scanOperationJob(result)
		if err != nil {
			return nil, "", fmt.Errorf("list operations: %w", s.readError(err))
		}
		rows, last = append(rows, OperationJob{Operation: o, Job: j.Job}), j
	}
	if err := result.Err(); err != nil {
		return nil, "", fmt.Errorf("list operations: %w", s.readError(err))
	}
	return rows, next, nil
}

// listSQL returns the query for a page and one row more.
func listSQL(q ListQuery, order []sortColumn, size int) (string, []any, error) {
	var b conditions
	b.add("j.instance = ?", q.Instance)
	for _, t := range q.Filter.Terms {
		b.term(t)
	}
	if q.PageToken != "" {
		after, err := readToken(q, order)
		if err != nil {
			return "", nil, err
		}
		b.after(order, after)
	}
	by := make([]string, len(order))
	for i, c := range order {
		by[i] = c.expr + c.direction()
	}
	sql := "SELECT " + operationColumns + ", " + jobColumns + " FROM jobs j JOIN operations o ON o.job = j.seq WHERE " +
		strings.Join(b.where, " AND ") + " ORDER BY " + strings.Join(by, ", ") + " LIMIT ?"
	return sql, append(b.args, size+1), nil
}
