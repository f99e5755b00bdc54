package queue

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

func TestAResultIsTakenOnlyFromWhoHasTheJobWithThisAttempt(t *testing.T) {
	s := newStore(t)
	must(t, s, session("s0"), session("s1"), submit("j0", "o0"), assignTo("j0", 1, "s0"), requeue("j0", 1, "s0"), assignTo("j0", 2, "s1"))
	for _, c := range []*queuepb.Complete{
		complete("j0", 1, "s0"), // the attempt that was taken away
		complete("j0", 1, "s1"), // its attempt, from who has the job now
		complete("j0", 2, "s0"), // the right attempt, from who had it before
		complete("j0", 3, "s1"),
		complete("j0", 2, ""), // the scheduler may not give up a job that runs
	} {
		refused, events := feed(t, s, c)
		if !errors.Is(refused[0], ErrStale) || len(events) > 0 {
			t.Errorf("attempt %d of %q: %v, %d events; want ErrStale", c.Attempt, c.SessionId, refused[0], len(events))
		}
	}
	must(t, s, complete("j0", 2, "s1"))
	if refused, _ := feed(t, s, complete("j0", 2, "s1")); !errors.Is(refused[0], ErrStale) {
		t.Errorf("a job completed twice: %v", refused[0])
	}
	check(t, s)
}

func TestMalformedCommandsAreRefused(t *testing.T) {
	with := func(change func(*queuepb.Submit)) proto.Message {
		m := submit("j1", "o1")
		change(m)
		return m
	}
	ended := func(change func(*queuepb.Complete)) proto.Message {
		m := complete("j0", 1, "s0")
		change(m)
		return m
	}
	long := strings.Repeat("x", maxID+1)
	for name, m := range map[string]proto.Message{
		"job without an id":          with(func(m *queuepb.Submit) { m.JobId = "" }),
		"job with a long id":         with(func(m *queuepb.Submit) { m.JobId = long }),
		"job without an operation":   with(func(m *queuepb.Submit) { m.Operation = nil }),
		"job without an action":      with(func(m *queuepb.Submit) { m.Action = nil }),
		"short hash":                 with(func(m *queuepb.Submit) { m.Action.Hash = m.Action.Hash[:31] }),
		"unknown digest function":    with(func(m *queuepb.Submit) { m.Action.Function = 2 }),
		"digest function of 9 bits":  with(func(m *queuepb.Submit) { m.Action.Function += 256 }),
		"negative size":              with(func(m *queuepb.Submit) { m.Action.Size = -1 }),
		"empty blob, another's hash": with(func(m *queuepb.Submit) { m.Action.Size = 0 }),
		"negative timeout":           with(func(m *queuepb.Submit) { m.TimeoutNanos = -1 }),
		"operation with a long id":   attach("j0", long, 0),
		"operation without a job":    attach("", "o1", 0),
		"session without an id":      session(""),
		"negative capacity":          &queuepb.OpenSession{SessionId: "s1", Capacity: -1},
		"heir to itself":             &queuepb.CloseSession{SessionId: "s0", Keep: []string{"j0"}, KeepSession: "s0"},
		"prune without a limit":      &queuepb.Prune{BeforeNanos: 1},
		"prune without bounds":       &queuepb.Prune{BeforeNanos: 1, Limit: maxPrune + 1},
		"no response":                ended(func(m *queuepb.Complete) { m.Response = nil }),
		"to cache without a result":  ended(func(m *queuepb.Complete) { m.Result = nil }),
		"bad response blob": ended(func(m *queuepb.Complete) {
			m.Response = &queuepb.Complete_ExecuteResponseBlob{ExecuteResponseBlob: &queuepb.Digest{}}
		}),
		"bad result blob": ended(func(m *queuepb.Complete) {
			m.Result = &queuepb.Complete_ActionResultBlob{ActionResultBlob: &queuepb.Digest{}}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			must(t, s, session("s0"), submit("j0", "o0"), assignTo("j0", 1, "s0"))
			before := strings.Split(dump(t, s), "last ")[0]
			refused, events := feed(t, s, m)
			if !errors.Is(refused[0], ErrMalformed) || len(events) > 0 {
				t.Errorf("%v, %d events; want ErrMalformed", refused[0], len(events))
			}
			if after := strings.Split(dump(t, s), "last ")[0]; after != before {
				t.Errorf("a refused command changed something:\n%s", cmp.Diff(before, after))
			}
		})
	}
}

func TestEverythingOfAJobIsKept(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	blob := digest.Of(digest.SHA256, []byte("a large response"))
	m := submit("j0", "o0")
	m.Priority, m.TimeoutNanos, m.DoNotCache = -7, int64(time.Minute), true
	m.Matched = []*queuepb.Property{{Name: "ISA", Value: "x86-64"}, {Name: "a<b>&\u2028", Value: "\"\x00\xff"}}
	m.Carried = []*queuepb.Property{{Name: "chrootRootDigest", Value: "1/2"}}
	m.Command = "cc \xff"
	m.Operation.RequestMetadata = []byte("\xffnot a message")
	end := complete("j0", 1, "s0")
	end.Response = &queuepb.Complete_ExecuteResponseBlob{ExecuteResponseBlob: DigestProto(blob)}
	must(t, s, session("s0"), m, assignTo("j0", 1, "s0"), end)
	want := &Job{
		ID: "j0", Instance: "main", Action: actionOf("j0"), Command: "cc \uFFFD", Priority: -7,
		Matched: []Property{{"ISA", "x86-64"}, {"a<b>&\u2028", "\"\x00\uFFFD"}},
		Carried: []Property{{"chrootRootDigest", "1/2"}}, Timeout: time.Minute, DoNotCache: true,
		Stage: Completed, Attempt: 1, BotID: "bot of s0", ResponseBlob: blob,
		QueuedAt: epoch.Add(2 * time.Second), StartedAt: epoch.Add(3 * time.Second), CompletedAt: epoch.Add(4 * time.Second),
	}
	wantOp := &Operation{
		ID: "o0", JobID: "j0", Instance: "main", RequestMetadata: []byte("\xffnot a message"), Client: "someone",
		CreatedAt: epoch.Add(2 * time.Second),
	}
	for range 2 {
		o, j := find(t, s, "o0")
		if diff := cmp.Diff(want, j); diff != "" {
			t.Errorf("job (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(wantOp, o); diff != "" {
			t.Errorf("operation (-want +got):\n%s", diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, dir)
	}
	s.Close()
}

func TestOnlyTheResultThatMayBeCachedIsAskedFor(t *testing.T) {
	s := newStore(t)
	secret := submit("j2", "o2")
	secret.DoNotCache = true
	big := complete("j1", 1, "s0")
	big.Result = &queuepb.Complete_ActionResultBlob{ActionResultBlob: DigestProto(actionOf("big"))}
	unasked := complete("j3", 1, "s0")
	unasked.Cache = false
	must(t, s, session("s0"), submit("j0", "o0"), submit("j1", "o1"), secret, submit("j3", "o3"),
		assignTo("j0", 1, "s0"), assignTo("j1", 1, "s0"), assignTo("j2", 1, "s0"), assignTo("j3", 1, "s0"))
	tx := begin(t, s)
	defer tx.Rollback()
	for _, m := range []proto.Message{complete("j0", 1, "s0"), complete("j0", 1, "s0"), big, complete("j2", 1, "s0"), unasked} {
		apply(tx, epoch.Add(time.Hour), m)
	}
	want := []ActionCacheWrite{
		{Instance: "main", Action: actionOf("j0"), Result: []byte("result of j0")},
		{Instance: "main", Action: actionOf("j1"), ResultBlob: actionOf("big")},
	}
	if diff := cmp.Diff(want, tx.ActionCacheWrites()); diff != "" {
		t.Errorf("asked of the action cache (-want +got):\n%s", diff)
	}
}

func TestABotThatComesBackKeepsTheJobsThatItLists(t *testing.T) {
	s := newStore(t)
	events := must(t, s, session("old"),
		submit("j0", "o0"), submit("j1", "o1"), assignTo("j0", 1, "old"), assignTo("j1", 1, "old"),
		&queuepb.OpenSession{SessionId: "new", BotId: "bot of old", Capacity: 2, Draining: true},
		&queuepb.CloseSession{SessionId: "old", Reason: "the bot came back", Keep: []string{"j1", "unknown"}, KeepSession: "new"})
	var kinds []EventKind
	for _, e := range events[5:] {
		kinds = append(kinds, e.Kind)
	}
	if want := []EventKind{SessionOpened, SessionClosed, JobQueued, JobMoved}; !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
	if _, j := find(t, s, "o1"); j.Stage != Executing || j.Attempt != 1 || j.SessionID != "new" {
		t.Errorf("the listed job: %+v", j)
	}
	if _, j := find(t, s, "o0"); j.Stage != Queued || !slices.Equal(j.History, []string{"attempt 1 on bot of old: the bot came back"}) {
		t.Errorf("the job that was not listed: %+v", j)
	}
	must(t, s, complete("j1", 1, "new"))
	if refused, _ := feed(t, s, complete("j0", 1, "old")); !errors.Is(refused[0], ErrStale) {
		t.Errorf("a result for the closed session: %v", refused[0])
	}
	check(t, s)
}

func TestHistoryIsBounded(t *testing.T) {
	s := newStore(t)
	must(t, s, session("s0"), submit("j0", "o0"))
	for n := range int32(maxHistoryLines + 3) {
		r := requeue("j0", n+1, "s0")
		r.Reason = "line\none\xff " + strings.Repeat("é", maxHistoryLine)
		must(t, s, assignTo("j0", n+1, "s0"), r)
	}
	_, j := find(t, s, "o0")
	if len(j.History) != maxHistoryLines || j.Failures != maxHistoryLines+3 {
		t.Errorf("%d lines of %d failures", len(j.History), j.Failures)
	}
	for i, line := range j.History {
		if !strings.HasPrefix(line, "attempt "+name("", i+4)+" on bot of s0: line one\uFFFD é") || len(line) > maxHistoryLine || !utf8.ValidString(line) {
			t.Errorf("line %d: %q", i, line)
		}
	}
	check(t, s)
}

func TestPruneForgetsTheOldestCompletedOnly(t *testing.T) {
	s := newStore(t)
	must(t, s, session("s0"), submit("j0", "o0"), submit("j1", "o1"), submit("j2", "o2"), attach("j2", "o3", 0), submit("j3", "o4"),
		cancel("o1"), cancel("o0"), assignTo("j2", 1, "s0"), cancel("o3"), cancel("o4"))
	now := epoch.Add(time.Hour).UnixNano()
	left := func() string {
		var ids []string
		for _, id := range []string{"o0", "o1", "o2", "o3", "o4"} {
			if _, _, err := s.Operation(t.Context(), id); err == nil {
				ids = append(ids, id)
			}
		}
		return strings.Join(ids, " ")
	}
	_, j := find(t, s, "o0")
	for _, step := range []struct {
		before int64
		limit  int32
		left   string
	}{
		{epoch.UnixNano(), 10, "o0 o1 o2 o3 o4"},
		{j.CompletedAt.UnixNano(), 10, "o0 o2 o3 o4"}, // o1 was completed before o0
		{now, 1, "o2 o3 o4"},
		{now, 10, "o2 o3"},
		{now, 10, "o2 o3"}, // what runs stays, however old it is
	} {
		must(t, s, &queuepb.Prune{BeforeNanos: step.before, Limit: step.limit})
		if got := left(); got != step.left {
			t.Errorf("pruned before %d, at most %d: left %q, want %q", step.before, step.limit, got, step.left)
		}
	}
	check(t, s)
}
