package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/bgrid-node/bgrid-node/test/cluster/netns"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// Ids of hosts: nodes from 1 on, workers from firstWorker on.
const firstWorker = 100

// Options say how a grid is started; Binary, Dir, Random and Say are needed.
type Options struct {
	Binary  string
	Dir     string
	Nodes   int      // 0: 3
	Workers int      // 0: 2
	Slots   int      // of each worker; 0: 4
	Args    []string // of each node's serve, besides what all tests want
	Random  *rand.Rand
	Say     func(format string, args ...any)
}

// Grid is a cluster of nodes without workers of their own, and remote workers that
// know all of them; each process in a network namespace.
type Grid struct {
	*harness.Cluster
	Workers []*harness.Worker

	hosts  []*netns.Host // of the members, in their order
	remote []*netns.Host // of the workers
	random *rand.Rand
	say    func(format string, args ...any)
}

// Start starts a grid, in a process that has a network (see netns.New), which at
// most one grid uses at a time. End it with Close.
func Start(ctx context.Context, o Options) (*Grid, error) {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	if o.Slots == 0 {
		o.Slots = 4
	}
	g := &Grid{random: o.Random, say: o.Say}
	if o.Random == nil || o.Say == nil {
		return nil, errors.New("start grid: Random and Say are needed")
	}
	var places []harness.Place
	for id := 1; id <= o.Nodes; id++ {
		h, err := netns.Add(ctx, fmt.Sprint("n", id), id)
		if err != nil {
			g.removeHosts()
			return nil, err
		}
		g.hosts = append(g.hosts, h)
		places = append(places, harness.Place{Address: h.Address, Exec: h.Exec()})
	}
	var err error
	g.Cluster, err = harness.StartCluster(ctx, harness.ClusterOptions{
		Binary: o.Binary, Dir: o.Dir, Places: places,
		Args: append([]string{"--slots", "0", "--cas-max-size", "16GiB", "--replicas", "2"}, o.Args...),
	})
	if err != nil {
		g.removeHosts()
		return nil, err
	}
	for id := range o.Workers {
		if err := g.addWorker(ctx, o, firstWorker+id); err != nil {
			g.Close()
			return nil, err
		}
	}
	return g, nil
}

func (g *Grid) addWorker(ctx context.Context, o Options, id int) error {
	h, err := netns.Add(ctx, fmt.Sprint("w", id), id)
	if err != nil {
		return err
	}
	g.remote = append(g.remote, h)
	w, err := harness.LaunchWorker(harness.WorkerOptions{
		Binary: o.Binary, Dir: filepath.Join(o.Dir, h.Name), Servers: g.Servers(), Exec: h.Exec(), Args: []string{"--slots", fmt.Sprint(o.Slots)},
	})
	if err == nil {
		g.Workers = append(g.Workers, w)
	}
	return err
}

// Close ends everything at once.
func (g *Grid) Close() {
	for _, w := range g.Workers {
		w.Kill()
	}
	g.Cluster.Close()
	g.removeHosts()
}

// removeHosts makes room for another grid; what cannot be removed is gone with
// this process.
func (g *Grid) removeHosts() {
	for _, h := range append(g.hosts, g.remote...) {
		_ = h.Remove(context.Background())
	}
}

// leader returns the index of the member that leads, once there is one.
func (g *Grid) leader(ctx context.Context) (int, error) {
	var last error
	for began := time.Now(); time.Since(began) < callerPatience; {
		status, err := g.Status(ctx)
		if err == nil {
			for i, m := range g.Members {
				if m.ID == status.Leader {
					return i, nil
				}
			}
		}
		last = err
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return 0, errors.Join(fmt.Errorf("no member leads for %s", callerPatience), last)
}

// others returns the hosts of all members but one.
func (g *Grid) others(i int) []*netns.Host {
	var all []*netns.Host
	for j, h := range g.hosts {
		if j != i {
			all = append(all, h)
		}
	}
	return all
}

// follower returns the index of one that does not lead.
func (g *Grid) follower(ctx context.Context) (int, error) {
	l, err := g.leader(ctx)
	return (l + 1 + g.random.IntN(len(g.Members)-1)) % len(g.Members), err
}
