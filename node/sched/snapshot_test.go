package sched

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

func TestASnapshotShowsWorkersQueueAndWhatEnded(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 2)
		g.submit(sub("ended"))
		g.done(ses, g.lease(ses))
		for _, name := range []string{"run1", "run2"} {
			g.submit(sub(name))
			g.lease(ses)
		}
		for i, priority := range []int32{1, 0, 2} {
			x := sub(fmt.Sprint("wait", i))
			x.Priority = priority
			g.submit(x)
		}
		odd := sub("odd")
		odd.Priority, odd.Matched = 1, []queue.Property{prop("ISA", "vax")}
		g.submit(odd)
		n := g.Snapshot(context.Background(), 3)
		commands := func(states []*State) (out []string) {
			for _, st := range states {
				out = append(out, st.Job.Command)
			}
			return out
		}
		if len(n.Workers) != 1 || n.Queued != 4 || n.Running != 2 || n.Submitted != 7 || n.Completed != 1 {
			t.Errorf("%d workers, %d queued, %d running, totals %+v", len(n.Workers), n.Queued, n.Running, n.Totals)
		}
		if diff := cmp.Diff([]string{"run run1", "run run2"}, commands(n.Workers[0].Running)); diff != "" {
			t.Errorf("running (-want +have):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"run wait1", "run wait0", "run odd"}, commands(n.Queue)); diff != "" {
			t.Errorf("queue, in the order in which it would run (-want +have):\n%s", diff)
		}
		if have := commands(n.Recent); len(have) != 1 || string(n.Recent[0].Response.GetResult().GetStdoutRaw()) != "run ended" {
			t.Errorf("ended: %v", have)
		}
		want := []Platform{
			{Instance: instance, Properties: odd.Matched, Queued: 1},
			{Instance: instance, Properties: linux, Slots: 2, Busy: 2, Queued: 3},
		}
		if diff := cmp.Diff(want, n.Platforms); diff != "" {
			t.Errorf("platforms (-want +have):\n%s", diff)
		}
	})
}

func TestRecentKeepsTheLatest(t *testing.T) {
	var r recent
	for i := range recentMost + 5 {
		r.add(&operation{row: &queue.Operation{ID: fmt.Sprint(i)}})
	}
	have := r.latest(1000)
	if len(have) != recentMost || have[0].row.ID != fmt.Sprint(recentMost+4) || have[recentMost-1].row.ID != "5" {
		t.Errorf("%d, from %s to %s", len(have), have[0].row.ID, have[len(have)-1].row.ID)
	}
}
