package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

const (
	workerCount   = 3
	workerSlots   = "4"
	workerActions = 2000
	workerClients = 24
	serverPause   = 5 * time.Second // at most, between two kills of the server
	workerPause   = 8 * time.Second // at most, between two kills of a worker
	killSlack     = 2 * time.Second // what a killed worker started may go on writing for so long
)

// herd is a server without slots, its workers, and what was done to them.
type herd struct {
	*settings
	node    *harness.Node
	workers [workerCount]*harness.Worker

	mu          sync.Mutex
	kills       [workerCount][]time.Time
	serverKills int
}

// workersLoop kills the server and workers at random while actions run that each
// leave a line in a file of their own. Every action completes; it runs again only
// when the worker that ran it was killed.
func workersLoop(ctx context.Context, s *settings) error {
	h := &herd{settings: s}
	if err := h.start(ctx); err != nil {
		return err
	}
	defer h.end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := h.node.GRPC
	var killing errgroup.Group
	done := make(chan struct{})
	killing.Go(func() error { return h.killServer(ctx, done) })
	killing.Go(func() error { return h.killWorkers(ctx, done) })
	actions := workerActions
	if s.rounds > 0 {
		actions = s.rounds
	}
	began := time.Now()
	err := h.load(ctx, server, actions)
	close(done)
	if killed := killing.Wait(); err == nil {
		err = killed
	}
	if err != nil {
		return fmt.Errorf("%w\nlog of the server:\n%s", err, h.node.Log())
	}
	return h.judge(actions, time.Since(began))
}

func (h *herd) start(ctx context.Context) (err error) {
	h.node, err = harness.Launch(ctx, harness.Options{
		Binary: h.binary, Dir: filepath.Join(h.dir, "server"), Args: []string{"--cas-max-size", "4GiB", "--slots", "0"},
	})
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(h.dir, "ran"), 0o700); err != nil {
		return err
	}
	for i := range h.workers {
		h.workers[i], err = harness.LaunchWorker(harness.WorkerOptions{
			Binary: h.binary, Dir: h.workerDir(i), Servers: []string{h.node.GRPC}, Args: []string{"--slots", workerSlots},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *herd) workerDir(i int) string { return filepath.Join(h.dir, fmt.Sprintf("worker-%d", i)) }

func (h *herd) end() {
	for _, w := range h.workers {
		if w != nil {
			w.Kill()
		}
	}
	h.node.Kill()
}

// pause waits for a random time; false at the end.
func pause(done <-chan struct{}, d time.Duration) bool {
	select {
	case <-done:
		return false
	case <-time.After(d):
		return true
	}
}

func (h *herd) killServer(ctx context.Context, done <-chan struct{}) error {
	random := h.random(11)
	for pause(done, time.Second+time.Duration(random.Int64N(int64(serverPause-time.Second)))) {
		h.node.Kill()
		pause(done, time.Duration(random.Int64N(int64(2*time.Second))))
		again, err := h.node.Again(ctx)
		if err != nil {
			return fmt.Errorf("restart the server: %w", err)
		}
		h.node = again
		h.serverKills++
	}
	return nil
}

func (h *herd) killWorkers(_ context.Context, done <-chan struct{}) error {
	random := h.random(12)
	for pause(done, time.Second+time.Duration(random.Int64N(int64(workerPause-time.Second)))) {
		i := random.IntN(workerCount)
		h.workers[i].Kill()
		h.mu.Lock()
		h.kills[i] = append(h.kills[i], time.Now())
		h.mu.Unlock()
		again, err := h.workers[i].Again()
		if err != nil {
			return fmt.Errorf("restart worker %d: %w", i, err)
		}
		h.workers[i] = again
	}
	return nil
}

// load runs the actions to their ends.
func (h *herd) load(ctx context.Context, server string, actions int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workerClients)
	c, err := client.Dial(server, harness.Instance, client.Options{Tool: "soak", Transfers: workerClients})
	if err != nil {
		return err
	}
	defer c.Close()
	inputs, err := client.NewTreeBuilder(digest.SHA256).Build(ctx)
	if err != nil {
		return err
	}
	random := h.random(13)
	var ended atomic.Int64
	for i := range actions {
		sleep := float64(random.IntN(400)) / 1000
		group.Go(func() error {
			job := client.Job{
				Arguments: []string{"/bin/sh", "-c", fmt.Sprintf("echo $(date +%%s%%N) $PWD >> %s; sleep %.3f; echo %d > out", h.file(i), sleep, i)},
				Outputs:   []string{"out"}, Env: map[string]string{"PATH": "/usr/bin:/bin"}, Platform: map[string][]string{"runner": {"hosttools"}},
			}
			p, err := job.Prepare(digest.SHA256, inputs)
			if err != nil {
				return err
			}
			op, err := c.Run(ctx, p, nil, nil)
			if err != nil {
				return fmt.Errorf("action %d: %w", i, err)
			}
			if n := ended.Add(1); n%500 == 0 {
				h.say("workers: %d actions ended", n)
			}
			return checkOutput(op, digest.Of(digest.SHA256, fmt.Appendf(nil, "%d\n", i)))
		})
	}
	return group.Wait()
}

func (h *herd) file(action int) string { return filepath.Join(h.dir, "ran", strconv.Itoa(action)) }

// execution is a line of an action's file.
type execution struct {
	at     time.Time
	worker int
}

func (h *herd) executions(action int) ([]execution, error) {
	data, err := os.ReadFile(h.file(action))
	if err != nil {
		return nil, err
	}
	var all []execution
	for line := range strings.Lines(string(data)) {
		var ns int64
		var dir string
		if _, err := fmt.Sscan(line, &ns, &dir); err != nil {
			return nil, fmt.Errorf("action %d wrote %q", action, line)
		}
		e := execution{at: time.Unix(0, ns), worker: -1}
		for i := range workerCount {
			if strings.HasPrefix(dir, h.workerDir(i)+"/") {
				e.worker = i
			}
		}
		if e.worker < 0 {
			return nil, fmt.Errorf("action %d ran in %s", action, dir)
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b execution) int { return a.at.Compare(b.at) })
	return all, nil
}

// judge counts the executions of each action. One that is followed by another must
// have ended with its worker.
func (h *herd) judge(actions int, took time.Duration) error {
	again, kills := 0, 0
	for _, k := range h.kills {
		kills += len(k)
	}
	for i := range actions {
		all, err := h.executions(i)
		if err != nil {
			return err
		}
		again += len(all) - 1
		for j := range all[:len(all)-1] {
			first, next := all[j], all[j+1]
			if !slices.ContainsFunc(h.kills[first.worker], func(k time.Time) bool {
				return k.After(first.at.Add(-killSlack)) && k.Before(next.at)
			}) {
				return fmt.Errorf("action %d ran %d times, although worker %d, which ran it at %s, was not killed before %s",
					i, len(all), first.worker, first.at.Format(time.StampMilli), next.at.Format(time.StampMilli))
			}
		}
	}
	h.say("workers: %d actions in %s; the server was killed %d times, workers %d times; %d executions were repeated, each on account of a killed worker",
		actions, took.Round(time.Second), h.serverKills, kills, again)
	if h.serverKills == 0 || kills == 0 {
		return fmt.Errorf("nothing was killed: the loop is too short")
	}
	return nil
}
