package sched

import (
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
)

// TestARepeatedSubmissionFindsItsOperation submits with an id that the caller
// chose, again and again, as a node does that was not answered.
func TestARepeatedSubmissionFindsItsOperation(t *testing.T) {
	for _, doNotCache := range []bool{false, true} {
		inBubble(t, nil, func(t *testing.T, g *grid) {
			x := sub("a")
			x.OperationID, x.DoNotCache = "5f4a2b9e-0000-4000-8000-000000000001", doNotCache
			name := g.submit(x)
			if again := g.submit(x); again != name {
				t.Errorf("while it waits: %q, want %q", again, name)
			}
			if again, joined := g.join(x); joined && again != name {
				t.Errorf("joined as %q, want %q", again, name)
			}
			ses := g.bot("b", 2)
			l := g.lease(ses)
			g.idle(ses)
			if again := g.submit(x); again != name {
				t.Errorf("while it runs: %q, want %q", again, name)
			}
			g.complete(ses, l, code.Code_INVALID_ARGUMENT, nil) // final, and not cached
			if again := g.submit(x); again != name {
				t.Errorf("when it is done: %q, want %q", again, name)
			}
			if s := g.get(name); !s.Done {
				t.Errorf("it is %+v", s)
			}
			g.idle(ses)
			if other := g.submit(sub("a")); other == name {
				t.Error("another client's submission was taken for a repetition")
			}
		})
	}
}

func TestARepeatedAnswerFromTheCacheHasItsName(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		x := sub("a")
		x.OperationID = "5f4a2b9e-0000-4000-8000-000000000001"
		want := x.Instance + "/" + x.OperationID
		for range 2 {
			time.Sleep(6 * time.Minute)
			if st := g.Finished(x, nil); st.Name != want {
				t.Errorf("answered as %s, want %s", st.Name, want)
			}
		}
		time.Sleep(6 * time.Minute) // the first is forgotten
		if st := g.get(want); !st.Done {
			t.Errorf("it is %+v", st)
		}
	})
}

func TestAClusterClosesLocalSessionsOfAnyNode(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		g.open(Bot{BotID: "host/local", Capacity: 1, Local: true})
		g.change = func(o *Options) { o.Clustered, o.NodeID = true, "another node" }
		g.restart()
		if rows, err := g.store.Sessions(t.Context()); err != nil || len(rows) != 0 {
			t.Errorf("%d sessions are open, %v", len(rows), err)
		}
	})
}
