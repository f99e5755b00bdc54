package filter

import (
	"strconv"
	"strings"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

// String returns the filter in its own language; Parse of it gives an equal
// Filter. Equal filters give equal strings.
func (f Filter) String() string {
	var b strings.Builder
	join := func() {
		if b.Len() > 0 {
			b.WriteString(" & ")
		}
	}
	for _, t := range f.Terms {
		join()
		b.WriteString(string(t.Key) + " " + t.Op.String() + " " + quote(t.value()))
	}
	for _, s := range f.Order {
		join()
		b.WriteString(sortOrder + " = " + string(s.Key))
		if s.Descending {
			b.WriteString("(desc)")
		}
	}
	return b.String()
}

// value returns the term's value as the language writes it, unquoted.
func (t Term) value() string {
	switch t.Key {
	case Stage:
		return repb.ExecutionStage_Value_name[t.Stage]
	case QueuedTime, StartTime, CompletedTime:
		return t.Time.UTC().Format(time.RFC3339Nano)
	case Platform:
		return t.Name + ":" + t.Text
	}
	return t.Text
}

// quote puts quotes around a value that needs them.
func quote(v string) string {
	bare := v != ""
	for i := range len(v) {
		bare = bare && isWord(v[i])
	}
	if bare {
		return v
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
}

// GoString makes failures of tests readable.
func (f Filter) GoString() string { return "filter.Parse(" + strconv.Quote(f.String()) + ")" }
