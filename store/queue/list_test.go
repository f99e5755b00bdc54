package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/bgrid-node/bgrid-node/store/queue/filter"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

func parse(t fataler, s string) filter.Filter {
	t.Helper()
	f, err := filter.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// ids lists what a filter lets through, page by page.
func ids(t fataler, s *Store, text string, size int) []string {
	t.Helper()
	var out []string
	q := ListQuery{Instance: "main", Filter: parse(t, text), PageSize: size}
	for {
		rows, next, err := s.List(context.Background(), q)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, r := range rows {
			if r.Operation.JobID != r.Job.ID {
				t.Fatalf("operation of %s with job %s", r.Operation.JobID, r.Job.ID)
			}
			out = append(out, r.Operation.ID)
		}
		if q.PageToken = next; next == "" {
			return out
		}
		if len(rows) != size {
			t.Fatalf("%s: a page of %d in the middle, want %d", text, len(rows), size)
		}
	}
}

// listed holds, in the order of queueing and thus of time (seconds from epoch):
// a (queued, 2), b1 and b2 (executing, 3; b2 attached), c (completed, 5), d1
// (cancelled) and d2 (its job goes on), x in another instance.
func listed(t testing.TB) *Store {
	s := newStore(t)
	a, b, c, d, x := submit("ja", "a"), submit("jb", "b1"), submit("jc", "c"), submit("jd", "d1"), submit("jx", "x")
	metadata, err := proto.Marshal(&repb.RequestMetadata{
		ToolDetails:      &repb.ToolDetails{ToolName: "bazel", ToolVersion: "8.1"},
		ToolInvocationId: "inv", CorrelatedInvocationsId: "corr", ActionMnemonic: "CppCompile",
		TargetId: "//a:b", ConfigurationId: "k8",
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Operation.RequestMetadata, a.Operation.Client = metadata, "10.0.0.1"
	a.Matched = []*queuepb.Property{{Name: "OSFamily", Value: "linux"}, {Name: "ISA", Value: "x86-64"}}
	b.Matched = []*queuepb.Property{{Name: "OSFamily", Value: "aix"}}
	b.Carried = []*queuepb.Property{{Name: "image", Value: "docker://x'"}}
	c.Command, x.Instance = "ld -o prog 100%_done'--", "other"
	must(t, s, session("s"), a, b, assignTo("jb", 1, "s"), c, assignTo("jc", 1, "s"), complete("jc", 1, "s"), attach("jb", "b2", 0),
		d, attach("jd", "d2", 0), cancel("d1"), x)
	return s
}

func TestListFindsByEveryKey(t *testing.T) {
	s := listed(t)
	all := "a b1 b2 c d1 d2"
	for _, c := range []struct{ filter, want string }{
		{"", all},
		{"stage=queued", "a d2"},
		{"stage!=queued", "b1 b2 c d1"},
		{"stage=executing", "b1 b2"},
		{"stage=completed", "c d1"},
		{"stage!=completed", "a b1 b2 d2"},
		{"stage<executing", "a d2"},
		{"stage<=executing", "a b1 b2 d2"},
		{"stage>executing", "c d1"},
		{"stage>=executing", "b1 b2 c d1"},
		{"stage<completed", "a b1 b2 d2"},
		{"stage<=completed", all},
		{"stage=unknown", ""},
		{"name=main/b2", "b2"},
		{"name>=c", "c d1 d2"},
		{`command="cc -c"`, "a b1 b2 d1 d2"},
		{`command!="cc -c"`, "c"},
		{`command="100%_d"`, "c"},
		{`command="%"`, "c"}, // not a pattern
		{`command="'--"`, "c"},
		{"command=CC", ""},
		{"command>d", "c"},
		{"platform=OSFamily:linux", "a"},
		{"platform!=OSFamily:linux", "b1 b2"},
		{"platform=ISA:x86-64", "a"},
		{`platform="image:docker://x'"`, "b1 b2"},
		{"platform=linux:OSFamily", ""},
		{"action_digest=" + actionOf("ja").String(), "a"},
		{"action_digest!=" + actionOf("jb").String(), "a c d1 d2"},
		{"invocation_id=inv", "a"},
		{"correlated_invocations_id=corr", "a"},
		{"tool_name=bazel", "a"},
		{"tool_name!=bazel", "b1 b2 c d1 d2"},
		{`tool_name=""`, "b1 b2 c d1 d2"},
		{"tool_version>=8", "a"},
		{"action_mnemonic=CppCompile", "a"},
		{"target_id=//a:b", "a"},
		{"configuration_id=k8", "a"},
		{"queued_time=2026-01-02T03:04:07Z", "a"},
		{"queued_time>2026-01-02T03:04:07Z", "b1 b2 c d1 d2"},
		{"queued_time<0001", ""},
		{"queued_time<9999", all},
		{"start_time<9999", "b1 b2 c"}, // what was not started has no such time
		{"start_time!=2026-01-02T03:04:11Z", "b1 b2"},
		{"completed_time>=2026-01-02T03:04:12Z", "c"},
		{"client_actor=10.0.0.1", "a"},
		{"client_subject!=someone", "a b2 d2"},
		{"client_workflow=x", ""},
		{"stage=queued & client_actor=10.0.0.1", "a"},
		{"sort_order=queued_time(desc)", "d1 d2 c b1 b2 a"},
		{"sort_order=name(desc)", "d2 d1 c b2 b1 a"},
		{"sort_order=stage & sort_order=name(desc)", "d2 a b2 b1 d1 c"},
		{"sort_order=start_time(desc)", "c b1 b2 a d1 d2"},
		{"sort_order=completed_time(desc) & sort_order=command", "c a b1 b2 d1 d2"},
		{"sort_order=command", "a b1 b2 d1 d2 c"},
		{"sort_order=tool_name(desc) & sort_order=name(desc)", "a d2 d1 c b2 b1"},
		{"sort_order=client_actor(desc) & sort_order=name(desc)", "d1 c b1 a d2 b2"},
		{"sort_order=command & sort_order=command(desc) & sort_order=action_digest & sort_order=name(desc)", "a b2 b1 d2 d1 c"},
	} {
		for _, size := range []int{1, 4, MaxPageSize} {
			if got := strings.Join(ids(t, s, c.filter, size), " "); got != c.want {
				t.Errorf("%s, %d a page: %s; want %s", c.filter, size, got, c.want)
			}
		}
	}
}

// TestPagesAreOneList: any filter and order, cut into pages, is the same list.
func TestPagesAreOneList(t *testing.T) {
	s := listed(t)
	keys := []string{
		"stage", "name", "queued_time", "start_time", "completed_time", "action_digest", "command", "invocation_id", "correlated_invocations_id",
		"tool_name", "tool_version", "action_mnemonic", "target_id", "configuration_id", "client_workflow", "client_actor", "client_subject",
	}
	rapid.Check(t, func(t *rapid.T) {
		var terms []string
		for range rapid.IntRange(0, 4).Draw(t, "keys") {
			terms = append(terms, "sort_order="+rapid.SampledFrom(keys).Draw(t, "key")+rapid.SampledFrom([]string{"", "(asc)", "(desc)"}).Draw(t, "direction"))
		}
		text := strings.Join(terms, " & ")
		whole := ids(t, s, text, MaxPageSize)
		if len(whole) != 6 {
			t.Fatalf("%q lists %v", text, whole)
		}
		if paged := ids(t, s, text, rapid.IntRange(1, 5).Draw(t, "size")); !slices.Equal(whole, paged) {
			t.Fatalf("%q: %v in pages, %v at once", text, paged, whole)
		}
	})
}

func TestPagesGoOnBehindTheirLastRowWhateverHappensMeanwhile(t *testing.T) {
	s := listed(t)
	q := ListQuery{Instance: "main", PageSize: 3}
	rows, next, err := s.List(t.Context(), q)
	if err != nil || len(rows) != 3 {
		t.Fatal(len(rows), err)
	}
	must(t, s, cancel("b2"), remove("b2"), submit("je", "e")) // the last row goes, another comes
	q.PageToken, q.PageSize = next, 10                        // a size may change
	rows, next, err = s.List(t.Context(), q)
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, r.Operation.ID)
	}
	if want := []string{"c", "d1", "d2", "e"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestListRefusesPagesThatItDoesNotGive(t *testing.T) {
	s := listed(t)
	for _, size := range []int{-1, MaxPageSize + 1} {
		if _, _, err := s.List(t.Context(), ListQuery{Instance: "main", PageSize: size}); !errors.Is(err, ErrBadPageSize) {
			t.Errorf("page of %d: %v", size, err)
		}
	}
}

// TestListUsesItsIndexes: with 100,000 jobs, what every page of operations asks
// for must not read them all.
func TestListUsesItsIndexes(t *testing.T) {
	s := listed(t)
	for text, want := range map[string]string{
		"stage!=completed":                "SEARCH j USING INDEX jobs_completed (completed_at=?)",
		"stage=executing":                 "SEARCH j USING INDEX jobs_completed (completed_at=?)",
		"name=a":                          "SEARCH o USING INDEX operations_id (id=?)",
		"sort_order=name":                 "SCAN o USING INDEX operations_id",
		"sort_order=completed_time(desc)": "USING INDEX jobs_completed",
	} {
		q := ListQuery{Instance: "main", Filter: parse(t, text)}
		sql, args, err := listSQL(q, sortColumns(q.Filter.Order), 100)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := s.readers.Query("EXPLAIN QUERY PLAN "+sql, args...)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, step)
		}
		if got := fmt.Sprint(plan); !strings.Contains(got, want) || strings.Contains(got, "TEMP B-TREE FOR ORDER BY") {
			t.Errorf("%s: %s; want %s", text, got, want)
		}
	}
}
