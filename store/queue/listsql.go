package queue

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/bgrid-node/bgrid-node/store/queue/filter"
)

// stageColumn is the stage as the client of an operation sees it.
const stageColumn = "CASE WHEN o.cancelled THEN 4 ELSE j.stage END"

// textColumns are the keys that compare as they are.
var textColumns = map[filter.Key]string{
	filter.Name:                    "o.id",
	filter.Command:                 "j.command",
	filter.ActionDigest:            "j.action",
	filter.InvocationID:            "o.invocation_id",
	filter.CorrelatedInvocationsID: "o.correlated_invocations_id",
	filter.ToolName:                "o.tool_name",
	filter.ToolVersion:             "o.tool_version",
	filter.ActionMnemonic:          "o.action_mnemonic",
	filter.TargetID:                "o.target_id",
	filter.ConfigurationID:         "o.configuration_id",
	filter.ClientWorkflow:          "''", // nothing tells it yet
	filter.ClientActor:             "o.client",
	filter.ClientSubject:           "o.client",
}

var timeColumns = map[filter.Key]string{
	filter.QueuedTime:    "j.queued_at",
	filter.StartTime:     "j.started_at",
	filter.CompletedTime: "j.completed_at",
}

// conditions collects what goes behind WHERE.
type conditions struct {
	where []string
	args  []any
}

func (b *conditions) add(sql string, args ...any) {
	b.where = append(b.where, sql)
	b.args = append(b.args, args...)
}

// term adds one term of a filter.
func (b *conditions) term(t filter.Term) {
	op := " " + t.Op.String() + " ?"
	switch column := timeColumns[t.Key]; {
	case column != "":
		b.add(column + " > 0")
		b.add(column+op, clampNanos(t.Time))
	case t.Key == filter.Stage:
		b.stage(t, op)
	case t.Key == filter.Platform:
		b.add("EXISTS (SELECT 1 FROM (SELECT value FROM json_each(j.matched) UNION ALL SELECT value FROM json_each(j.carried)) p"+
			" WHERE p.value ->> 0 = ? AND p.value ->> 1"+op+")", t.Name, t.Text)
	case t.Key == filter.Command && t.Op == filter.Equal:
		b.add("instr(j.command, ?) > 0", t.Text)
	case t.Key == filter.Command && t.Op == filter.NotEqual:
		b.add("instr(j.command, ?) = 0", t.Text)
	default:
		b.add(textColumns[t.Key]+op, t.Text)
	}
}

// stage adds a term on the stage; the index finds what is not completed.
func (b *conditions) stage(t filter.Term, op string) {
	unfinished := false
	switch done := int32(Completed); t.Op {
	case filter.NotEqual:
		unfinished = t.Stage == done
	case filter.Equal, filter.LessOrEqual:
		unfinished = t.Stage < done
	case filter.Less:
		unfinished = t.Stage <= done
	}
	if unfinished {
		b.add("j.completed_at = 0")
	}
	b.add(stageColumn+op, t.Stage)
}

// clampNanos is a time in nanoseconds as far as 64 bits reach.
func clampNanos(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// sortColumn is one column of an order.
type sortColumn struct {
	key        filter.Key
	expr       string
	descending bool
}

func (c sortColumn) direction() string {
	if c.descending {
		return " DESC"
	}
	return ""
}

// sortColumns returns the columns of an order. The last is always the id, so
// that no two rows are equal. Jobs are numbered in the order of their queueing:
// that number stands for the time, since it needs no index of its own.
func sortColumns(order []filter.Sort) []sortColumn {
	if len(order) == 0 {
		order = []filter.Sort{{Key: filter.QueuedTime}}
	}
	var columns []sortColumn
	for _, s := range order {
		if slices.ContainsFunc(columns, func(c sortColumn) bool { return c.key == s.Key }) {
			continue // rows that an order leaves equal are equal to it
		}
		expr := textColumns[s.Key]
		switch s.Key {
		case filter.Stage:
			expr = stageColumn
		case filter.QueuedTime:
			expr = "j.seq"
		case filter.StartTime, filter.CompletedTime:
			expr = timeColumns[s.Key]
		}
		columns = append(columns, sortColumn{key: s.Key, expr: expr, descending: s.Descending})
		if s.Key == filter.Name {
			return columns
		}
	}
	return append(columns, sortColumn{key: filter.Name, expr: textColumns[filter.Name]})
}

// after adds the condition that a row comes after the one whose sort values are
// given: (a > ? OR (a = ? AND b > ?) ...). The first column alone goes in front,
// since an index can find that.
func (b *conditions) after(order []sortColumn, values []any) {
	compare := func(c sortColumn) string {
		if c.descending {
			return c.expr + " <"
		}
		return c.expr + " >"
	}
	b.add(compare(order[0])+"= ?", values[0])
	var or, equal []string
	var args []any
	for i, c := range order {
		or = append(or, strings.Join(append(equal[:i:i], compare(c)+" ?"), " AND "))
		args = append(append(args, values[:i]...), values[i])
		equal = append(equal, c.expr+" = ?")
	}
	b.add("("+strings.Join(or, " OR ")+")", args...)
}
