package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/bgrid-node/bgrid-node/test/bazel"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

const (
	killRounds       = 50
	bazelEvery       = 5               // rounds
	survivorPatience = 5 * time.Second // from SIGKILL of the node until all that its actions started is gone
	inspectEvery     = 5               // rounds
)

// leastLoad is the shortest time from a load that is under way to the kill.
const leastLoad = 10 * time.Millisecond

// killer is the state of the kill loop: one data directory, killed again and again.
type killer struct {
	*settings
	node    *harness.Node
	random  *rand.Rand
	marker  string
	counts  counts
	slowest time.Duration // start
	builds  int
}

func killLoop(ctx context.Context, s *settings) error {
	k := &killer{settings: s, random: s.random(1), marker: fmt.Sprintf("%d-%d", os.Getpid(), s.seed)}
	var err error
	k.node, err = harness.Launch(ctx, harness.Options{Binary: s.binary, Dir: filepath.Join(s.dir, "data"), Args: []string{"--cas-max-size", "8GiB"}})
	if err != nil {
		return err
	}
	defer func() { k.node.Kill() }()
	rounds := s.rounds
	if rounds == 0 {
		rounds = killRounds
	}
	for i := 1; i <= rounds; i++ {
		if err := k.round(ctx, i, i == rounds); err != nil {
			return fmt.Errorf("round %d: %w\nlog of the node:\n%s", i, err, k.node.Log())
		}
	}
	s.say("kill: %d rounds, %d of them with a Bazel build; %s; slowest start %s", rounds, k.builds, &k.counts, k.slowest.Round(time.Millisecond))
	return nil
}

// round loads the node, kills it, and checks what it promised after its restart.
func (k *killer) round(ctx context.Context, i int, last bool) error {
	build := k.startBuild(ctx, i)
	l, err := startLoad(ctx, k.node, k.marker, k.random)
	if err != nil {
		return err
	}
	moment := leastLoad + time.Duration(k.random.Int64N(int64(2*time.Second)))
	if build != nil {
		moment += time.Second + time.Duration(k.random.Int64N(int64(4*time.Second))) // Bazel starts slowly
	}
	select {
	case <-time.After(moment):
	case <-ctx.Done():
	}
	k.node.Kill()
	l.stop()
	if err := harness.AwaitNoSurvivors(ctx, markerName+"="+k.marker, survivorPatience); err != nil {
		return fmt.Errorf("after the kill: %w", err)
	}
	if i%inspectEvery == 0 || last {
		if err := inspect(ctx, k.node.Dir); err != nil {
			return fmt.Errorf("inspect the stores of the killed node: %w", err)
		}
	}
	if k.node, err = k.node.Again(ctx); err != nil {
		return err
	}
	k.slowest = max(k.slowest, k.node.Ready)
	return k.check(ctx, i, moment, l.ledger, build)
}

func (k *killer) check(ctx context.Context, i int, moment time.Duration, l *ledger, build <-chan error) error {
	accepted, unfinished := l.unfinished()
	k.say("kill: round %d: killed after %s: %d operations accepted, %d of them unfinished, %d blobs; restart took %s", i,
		moment.Round(time.Millisecond), accepted, unfinished, len(l.blobs), k.node.Ready.Round(time.Millisecond))
	if err := verify(ctx, k.node, l, false, &k.counts); err != nil {
		return err
	}
	if build != nil {
		k.builds++
		if err := <-build; err != nil {
			return err
		}
	}
	// Everything has ended, so that nothing may be left, daemons included.
	if err := harness.AwaitNoSurvivors(ctx, markerName+"="+k.marker, survivorPatience); err != nil {
		return fmt.Errorf("after the last action's end: %w", err)
	}
	return nil
}

// startBuild lets Bazel build a workspace of its own in some rounds; it must
// succeed although the node is killed meanwhile. nil: not in this round.
func (k *killer) startBuild(ctx context.Context, i int) <-chan error {
	if !k.bazel || i%bazelEvery != 0 {
		return nil
	}
	done := make(chan error, 1)
	server := k.node.GRPC
	go func() { done <- buildOnce(ctx, filepath.Join(k.dir, fmt.Sprintf("bazel-%d", i)), server, i) }()
	return done
}

// buildOnce makes a workspace, builds and tests it remotely, and removes it.
func buildOnce(ctx context.Context, dir, server string, seed int) (err error) {
	w, err := bazel.New(dir, server, harness.Instance, 32, seed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Remove()) }()
	w.Flags = []string{"--remote_retries=30"}
	return expectRemote(w.Run(ctx, "test", "//..."))
}

// expectRemote refuses a build that failed or ran a command elsewhere.
func expectRemote(r bazel.Result, err error) error {
	switch {
	case err != nil:
		return err
	case r.ExitCode != 0:
		return fmt.Errorf("the Bazel build failed with exit code %d:\n%s", r.ExitCode, r.Output)
	case r.Processes.Spawned() != r.Processes[bazel.Remote]+r.Processes[bazel.CacheHit]:
		return fmt.Errorf("the Bazel build ran commands elsewhere: %v", r.Processes)
	}
	return nil
}
