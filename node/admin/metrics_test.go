package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestMetricsTellStateAndCalls(t *testing.T) {
	s, m := newServer(t, busy())
	m.ActionEnded(Failed)
	m.begin("/a/B")(nil)
	m.begin("/a/B")(status.Error(codes.NotFound, "no"))
	m.begin("/a/B")(context.Canceled)
	open := m.begin("/a/B")
	text := get(s, "GET", "/metrics", "localhost").Body.String()
	open(nil)
	for _, want := range []string{
		`bgrid_actions_total{outcome="failed"} 1`,
		`bgrid_actions_total{outcome="succeeded"} 0`,
		`bgrid_grpc_handled_total{code="OK",method="/a/B"} 1`,
		`bgrid_grpc_handled_total{code="NotFound",method="/a/B"} 1`,
		`bgrid_grpc_handled_total{code="Canceled",method="/a/B"} 1`,
		`bgrid_grpc_seconds_count{method="/a/B"} 3`,
		`bgrid_grpc_in_flight 1`,
		`bgrid_queue_actions{platform="runner=bubblewrap"} 12`,
		`bgrid_slots{platform="ISA=x86-64,OSFamily=linux,runner=hosttools"} 4`,
		`bgrid_slots_busy{platform="ISA=x86-64,OSFamily=linux,runner=hosttools"} 2`,
		`bgrid_cas_bytes 3.221225472e+09`,
		`bgrid_action_cache_entries 4321`,
		`bgrid_unclean_shutdowns_total 2`,
		`bgrid_build_info{node="n1",revision="abc",version="v1.2.3"} 1`,
		`bgrid_ready 1`,
		`go_goroutines`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestMetricsFailWhenTheStateIsUnknown(t *testing.T) {
	source := busy()
	source.err = errors.New("closed")
	s, _ := newServer(t, source)
	if w := get(s, "GET", "/metrics", "localhost"); w.Code != 500 {
		t.Errorf("have %d, want 500", w.Code)
	}
}

func TestOutcomeOfAnExecution(t *testing.T) {
	for _, c := range []struct {
		code codes.Code
		exit int32
		want string
	}{
		{codes.OK, 0, Succeeded},
		{codes.OK, 1, Failed},
		{codes.DeadlineExceeded, 137, TimedOut},
		{codes.Canceled, 0, Cancelled},
		{codes.Aborted, 0, Errored},
	} {
		r := &repb.ExecuteResponse{Status: &statuspb.Status{Code: int32(c.code)}, Result: &repb.ActionResult{ExitCode: c.exit}}
		if have := Outcome(r); have != c.want {
			t.Errorf("%s, exit code %d: have %q, want %q", c.code, c.exit, have, c.want)
		}
	}
}

func BenchmarkCallCounting(b *testing.B) {
	m := NewMetrics()
	b.ReportAllocs()
	for b.Loop() {
		m.begin("/build.bazel.remote.execution.v2.ActionCache/GetActionResult")(nil)
	}
}

// Sums over all nodes of a cluster must count each worker and each queued action
// once: only the node that leads tells of them.
func TestOnlyTheLeaderCountsQueueAndWorkers(t *testing.T) {
	for _, c := range []struct {
		leader, trouble string
		counts          bool
	}{{"", "", true}, {"n2", "", false}, {"", "there is no leader", false}} {
		source := busy()
		source.status.Leader, source.status.Trouble = c.leader, c.trouble
		source.status.Members = []Member{{ID: "n1", Self: true, Leads: c.counts, Reachable: true, Voter: true}, {ID: "n2", Voter: true}}
		s, _ := newServer(t, source)
		text := get(s, "GET", "/metrics", "localhost").Body.String()
		for _, name := range []string{"bgrid_workers ", "bgrid_queue_length ", "bgrid_slots{"} {
			if have := strings.Contains(text, "\n"+name); have != c.counts {
				t.Errorf("leader %q: %s told %t, want %t", c.leader, name, have, c.counts)
			}
		}
		for _, line := range []string{`bgrid_member_reachable{member="n1"} 1`, `bgrid_member_reachable{member="n2"} 0`, "bgrid_members 2", fmt.Sprintf("bgrid_leads %d", map[bool]int{true: 1}[c.counts])} {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("leader %q: no %q", c.leader, line)
			}
		}
	}
}
