package sched

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

func withGrace(d time.Duration) func(*Options) { return func(o *Options) { o.UnmatchableGrace = d } }

func TestAJobThatNoWorkerCanTakeFailsAfterTheGrace(t *testing.T) {
	inBubble(t, withGrace(time.Minute), func(t *testing.T, g *grid) {
		ses := g.open(Bot{Instance: instance, BotID: "b", Capacity: 1, Properties: linux, Local: true})
		g.submit(sub("runs"))
		g.lease(ses)
		busy := g.submit(sub("waits for a slot"))
		x := sub("odd")
		x.Matched = []queue.Property{prop("ISA", "vax")}
		var odd []string
		for i := range 3 {
			x.Action = action(fmt.Sprint(i))
			odd = append(odd, g.submit(x))
			time.Sleep(20 * time.Second)
		}
		synctest.Wait()
		st := g.get(odd[0])
		want := "no worker could run the action within 1m0s: no worker offers ISA=vax; the nearest is worker b"
		if s := st.Response.GetStatus(); code.Code(s.GetCode()) != code.Code_FAILED_PRECONDITION || s.GetMessage() != want {
			t.Errorf("the first ended with %v\nwant %q", s, want)
		}
		for i, name := range odd[1:] {
			if g.get(name).Done {
				t.Errorf("number %d ended early", i+1)
			}
		}
		g.open(Bot{Instance: instance, BotID: "vax", Capacity: 1, Properties: x.Matched, Local: true})
		time.Sleep(10 * time.Minute) // one runs, the other waits for the slot: that is no reason to end it
		synctest.Wait()
		for _, name := range append(odd[1:], busy) {
			if g.get(name).Done {
				t.Errorf("%s ended, although a worker can take it", name)
			}
		}
	})
}

func TestTheGraceBeginsWhenTheLastWorkerLeaves(t *testing.T) {
	inBubble(t, withGrace(time.Minute), func(t *testing.T, g *grid) {
		ses := g.bot("b", 1)
		g.submit(sub("a"))
		g.lease(ses)
		name := g.submit(sub("b"))
		time.Sleep(29 * time.Second) // and 1 s later it is silent for its expiry
		time.Sleep(60 * time.Second)
		synctest.Wait()
		if g.get(name).Done {
			t.Fatal("ended before the grace")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := g.get(name); code.Code(st.Response.GetStatus().GetCode()) != code.Code_FAILED_PRECONDITION {
			t.Errorf("ended: %t with %v", st.Done, st.Response)
		}
	})
}

func TestWithoutAGraceAJobWaitsForEver(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		name := g.submit(sub("a"))
		time.Sleep(3 * time.Hour)
		if g.get(name).Done {
			t.Error("it ended")
		}
	})
}
