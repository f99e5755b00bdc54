package sched

import (
	"context"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

func prop(name, value string) queue.Property { return queue.Property{Name: name, Value: value} }

func TestWhyNoWorkerCanTakeAJob(t *testing.T) {
	chroot := prop("runner", "userchroot")
	for _, c := range []struct {
		rule    string
		workers map[string][]queue.Property
		asks    []queue.Property
		want    string
	}{
		{"no worker at all", nil, nil, "no worker is connected"},
		{
			"no worker, and properties", nil, []queue.Property{prop("ISA", "arm"), chroot},
			"no worker is connected; it must offer ISA=arm and runner=userchroot",
		},
		{
			"nobody offers one property", map[string][]queue.Property{"w": {prop("ISA", "arm")}},
			[]queue.Property{prop("ISA", "arm"), chroot},
			"no worker offers runner=userchroot; the nearest is worker w",
		},
		{
			"the nearest lacks another one too",
			map[string][]queue.Property{"w": {}, "v": {prop("runner", "hosttools")}, "u": {prop("OSFamily", "linux")}, "x": {prop("ISA", "arm")}},
			[]queue.Property{prop("ISA", "arm"), prop("OSFamily", "linux"), chroot},
			"no worker offers runner=userchroot; the nearest, worker u, lacks ISA=arm and runner=userchroot",
		},
		{
			"each is offered, but not together",
			map[string][]queue.Property{"w": {prop("ISA", "arm")}, "v": {chroot}},
			[]queue.Property{prop("ISA", "arm"), chroot},
			"no worker offers ISA=arm and runner=userchroot together; the nearest, worker v, lacks ISA=arm",
		},
	} {
		t.Run(c.rule, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, g *grid) {
				g.open(Bot{Instance: "elsewhere", BotID: "a", Capacity: 1, Properties: c.asks}) // does not count
				for id, offers := range c.workers {
					g.open(Bot{Instance: instance, BotID: id, Capacity: 1, Properties: offers})
				}
				x := sub("a")
				x.Matched = c.asks
				if have := g.get(g.submit(x)).WaitReason; have != c.want {
					t.Errorf("reason %q\nwant   %q", have, c.want)
				}
			})
		})
	}
}

func TestAWaitingJobKnowsItsPosition(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, g *grid) {
		ses := g.bot("b", 2)
		for _, name := range []string{"a", "b"} {
			g.submit(sub(name))
			g.lease(ses)
		}
		g.submit(sub("c"))
		last := g.submit(sub("d"))
		urgent := sub("urgent")
		urgent.Priority = -1
		first := g.submit(urgent)
		for name, want := range map[string]string{
			last: "all 2 slots are busy, position 3", first: "all 2 slots are busy, position 1",
		} {
			if have := g.get(name).WaitReason; have != want {
				t.Errorf("reason %q, want %q", have, want)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = g.Drain(ctx)
		if have, want := g.get(last).WaitReason, "the node is draining: it hands out no more work"; have != want {
			t.Errorf("reason %q, want %q", have, want)
		}
	})
}
