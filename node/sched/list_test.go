package sched

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/filter"
)

func parse(t *testing.T, text string) filter.Filter {
	t.Helper()
	f, err := filter.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestListPagesThroughStoredAndAnsweredOperations(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ctx := context.Background()
		want := map[string]int{}
		ses := g.bot("b", 1)
		for i := range 4 {
			want[g.submit(sub(fmt.Sprint(i)))]++
		}
		g.done(ses, g.lease(ses))
		for i := range 5 {
			want[g.Finished(sub(fmt.Sprint("cached", i)), &repb.ExecuteResponse{CachedResult: true}).Name]++
		}
		other := sub("other")
		other.Instance = "elsewhere"
		g.Finished(other, nil)
		for size := 1; size <= 10; size++ {
			have := map[string]int{}
			token, pages := "", 0
			for ok := true; ok; ok = token != "" {
				var states []*State
				var err error
				states, token, err = g.List(ctx, instance, filter.Filter{}, size, token)
				if err != nil || len(states) > size {
					t.Fatal(len(states), err)
				}
				for _, st := range states {
					have[st.Name]++
				}
				pages++
			}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Errorf("pages of %d (-want +have):\n%s", size, diff)
			}
			if most := 9/size + 2; pages > most {
				t.Errorf("pages of %d: %d of them", size, pages)
			}
		}
		states, token, err := g.List(ctx, instance, filter.Unfinished(), 0, "")
		if err != nil || token != "" || len(states) != 3 {
			t.Fatal(len(states), token, err)
		}
		for _, st := range states {
			if st.Stage == queue.Queued && st.WaitReason == "" {
				t.Error("a listed operation does not say why it waits")
			}
		}
		if _, _, err := g.List(ctx, instance, filter.Filter{}, 1, "garbage"); !errors.Is(err, queue.ErrBadPageToken) {
			t.Errorf("a token of garbage: %v", err)
		}
	})
}

func TestFiltersHoldForAnswersFromTheCache(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		x := sub("cc -c a.c")
		x.Carried = []queue.Property{prop("network", "off")}
		x.RequestMetadata = &repb.RequestMetadata{
			ToolInvocationId: "inv", CorrelatedInvocationsId: "cor", ActionMnemonic: "Cc", TargetId: "//a", ConfigurationId: "opt",
			ToolDetails: &repb.ToolDetails{ToolName: "bazel", ToolVersion: "8.1"},
		}
		st := g.Finished(x, nil)
		_, id := splitName(st.Name)
		now := time.Now().UTC().Format(time.RFC3339)
		for text, want := range map[string]bool{
			"stage = completed": true, "stage != completed": false, "stage < completed": false, "stage >= queued": true,
			"name = " + id: true, "name != " + id: false,
			`command = "-c a"`: true, `command != "-c a"`: false, `command > "a"`: true,
			"platform = OSFamily:linux": true, "platform = network:off": true, "platform != network:on": true, "platform = ISA:x": false,
			"action_digest = " + x.Action.String(): true, "invocation_id = inv": true, "correlated_invocations_id = cor": true,
			"tool_name = bazel": true, "tool_version <= 8.2": true, "action_mnemonic = Cc": true, "target_id = //b": false,
			"configuration_id = opt": true, "client_actor = c": true, "client_subject != c": false, "client_workflow = x": false,
			"queued_time >= " + now: true, "completed_time < " + now: false, "start_time > 2000-01-01T00:00:00Z": false,
			"tool_name = bazel & invocation_id = other": false,
		} {
			states, _, err := g.List(context.Background(), instance, parse(t, text), 0, "")
			if err != nil {
				t.Fatal(err)
			}
			if have := len(states) == 1; have != want {
				t.Errorf("%q lets it through: %t", text, have)
			}
		}
	})
}

func TestOnlyTheNewestAnswersAreKept(t *testing.T) {
	inBubble(t, func(o *Options) { o.FinishedMost = 2 }, func(t *testing.T, g *grid) {
		var names []string
		for i := range 3 {
			names = append(names, g.Finished(sub(fmt.Sprint(i)), nil).Name)
		}
		for i, want := range []error{ErrNotFound, nil, nil} {
			if _, err := g.Get(context.Background(), names[i]); !errors.Is(err, want) {
				t.Errorf("get number %d: %v, want %v", i, err, want)
			}
		}
		time.Sleep(20 * time.Minute)
		g.finished.mu.Lock()
		defer g.finished.mu.Unlock()
		if len(g.finished.byID)+len(g.finished.order) > 0 {
			t.Error("what is due is still in memory")
		}
	})
}
