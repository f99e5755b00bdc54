package cluster

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

// fault breaks something of a grid and mends it again. What is broken stays so for
// a few seconds: longer than an election, shorter than a worker's expiry.
type fault struct {
	name string
	kind Kind
	do   func(ctx context.Context, g *Grid) error
}

// Kind says what a fault takes away.
type Kind int

// The kinds of faults.
const (
	OneNode Kind = iota // one node or worker for some time, or some of its packets
	Disk                // one node, with its disk
	Quorum              // two of three nodes: nothing goes on until one of them is back
)

// faults are all there are, the most telling first.
var faults = [...]fault{
	{"SIGKILL of the leader", OneNode, killLeader},
	{"the leader is cut off from the other nodes", OneNode, cutLeader},
	{"SIGKILL of a node, and its disk is lost", Disk, wipe},
	{"a follower is isolated", OneNode, isolateFollower},
	{"packets of the leader to the others are lost", OneNode, deafenOthers},
	{"the leader is frozen", OneNode, freezeLeader},
	{"a worker is isolated", OneNode, isolateWorker},
	{"SIGKILL of a follower", OneNode, killFollower},
	{"packets of a follower to the leader are lost", OneNode, deafenLeader},
	{"the leader is isolated", OneNode, isolateLeader},
	{"a follower is frozen", OneNode, freezeFollower},
	{"SIGKILL of two nodes at once", Quorum, killTwo},
	{"a rolling restart", OneNode, rollingRestart},
}

// How long something stays broken.
const (
	shortest = time.Second
	longest  = 5 * time.Second
)

// wait lets what is broken be so for a while.
func (g *Grid) wait(ctx context.Context) error {
	select {
	case <-time.After(shortest + time.Duration(g.random.Int64N(int64(longest-shortest)))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *Grid) kill(ctx context.Context, i int, meanwhile func() error) error {
	m := g.Members[i]
	g.say("  %s is killed", m.ID)
	m.Kill()
	if err := meanwhile(); err != nil {
		return err
	}
	if err := g.wait(ctx); err != nil {
		return err
	}
	return m.Again(ctx)
}

func nothing() error { return nil }

func killLeader(ctx context.Context, g *Grid) error {
	i, err := g.leader(ctx)
	if err != nil {
		return err
	}
	return g.kill(ctx, i, nothing)
}

func killFollower(ctx context.Context, g *Grid) error {
	i, err := g.follower(ctx)
	if err != nil {
		return err
	}
	return g.kill(ctx, i, nothing)
}

func wipe(ctx context.Context, g *Grid) error {
	i := g.random.IntN(len(g.Members))
	return g.kill(ctx, i, g.Members[i].Wipe)
}

// killTwo takes the quorum away: nothing is lost, everybody waits.
func killTwo(ctx context.Context, g *Grid) error {
	i, err := g.leader(ctx)
	if err != nil {
		return err
	}
	a, b := g.Members[i], g.Members[(i+1)%len(g.Members)]
	g.say("  %s and %s are killed", a.ID, b.ID)
	a.Kill()
	b.Kill()
	if err := g.wait(ctx); err != nil {
		return err
	}
	if err := a.Launch(); err != nil {
		return err
	}
	return b.Launch()
}

// broken breaks the network of a member, and mends it after a while.
func (g *Grid) broken(ctx context.Context, i int, what string, breakIt func() error) error {
	g.say("  %s %s", g.Members[i].ID, what)
	if err := breakIt(); err != nil {
		return err
	}
	if err := g.wait(ctx); err != nil {
		return err
	}
	return g.hosts[i].Heal(ctx)
}

func cutLeader(ctx context.Context, g *Grid) error {
	i, err := g.leader(ctx)
	if err != nil {
		return err
	}
	return g.broken(ctx, i, "is cut off", func() error { return g.hosts[i].CutBoth(ctx, g.others(i)...) })
}

func isolateLeader(ctx context.Context, g *Grid) error {
	i, err := g.leader(ctx)
	if err != nil {
		return err
	}
	return g.broken(ctx, i, "is isolated", func() error { return g.hosts[i].Isolate(ctx) })
}

func isolateFollower(ctx context.Context, g *Grid) error {
	i, err := g.follower(ctx)
	if err != nil {
		return err
	}
	return g.broken(ctx, i, "is isolated", func() error { return g.hosts[i].Isolate(ctx) })
}

func deafenOthers(ctx context.Context, g *Grid) error {
	i, err := g.leader(ctx)
	if err != nil {
		return err
	}
	return g.broken(ctx, i, "reaches no other node", func() error { return g.hosts[i].Cut(ctx, g.others(i)...) })
}

func deafenLeader(ctx context.Context, g *Grid) error {
	l, err := g.leader(ctx)
	if err != nil {
		return err
	}
	i := (l + 1) % len(g.Members)
	return g.broken(ctx, i, "does not reach "+g.Members[l].ID, func() error { return g.hosts[i].Cut(ctx, g.hosts[l]) })
}

// isolateWorker takes a worker away for less than its expiry: what it runs goes on,
// and is not given to another.
func isolateWorker(ctx context.Context, g *Grid) error {
	h := g.remote[g.random.IntN(len(g.remote))]
	g.say("  %s is isolated", h.Name)
	if err := h.Isolate(ctx); err != nil {
		return err
	}
	if err := g.wait(ctx); err != nil {
		return err
	}
	return h.Heal(ctx)
}

func (g *Grid) freeze(i int) error {
	m := g.Members[i]
	g.say("  %s is frozen", m.ID)
	if err := syscall.Kill(m.Pid(), syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze %s: %w", m.ID, err)
	}
	time.Sleep(longest)
	return syscall.Kill(m.Pid(), syscall.SIGCONT)
}

func freezeLeader(ctx context.Context, g *Grid) error {
	i, err := g.leader(ctx)
	if err != nil {
		return err
	}
	return g.freeze(i)
}

func freezeFollower(ctx context.Context, g *Grid) error {
	i, err := g.follower(ctx)
	if err != nil {
		return err
	}
	return g.freeze(i)
}

// rollingRestart restarts one node after the other, as an upgrade does.
func rollingRestart(ctx context.Context, g *Grid) error {
	for _, m := range g.Members {
		if err := g.restart(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// restart ends a node by SIGTERM and waits until it is ready again.
func (g *Grid) restart(ctx context.Context, m *harness.Member) error {
	g.say("  %s is restarted", m.ID)
	began := time.Now()
	if err := m.Stop(); err != nil {
		return err
	}
	stopped := time.Since(began)
	if err := m.Again(ctx); err != nil {
		return err
	}
	g.say("  %s took %s to end and %s to be ready", m.ID, stopped.Round(time.Millisecond), m.Ready.Round(time.Millisecond))
	return nil
}
