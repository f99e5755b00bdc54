package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/test/cluster"
	"github.com/bgrid-node/bgrid-node/test/cluster/netns"
)

const (
	clusterFaults  = 39 // all kinds three times
	clusterParts   = 48 // of each Bazel build
	rollingParts   = 96
	rollingBuilds  = 3 // with one round of restarts, two, and three
	wholeExecution = "-run=^cluster$"
)

// clusterLoop breaks one thing after another in a grid of three nodes, each in a
// network namespace, while clients and Bazel use it; then restarts all nodes one
// after the other during a build. It needs root.
func clusterLoop(ctx context.Context, s *settings) error {
	if !netns.Inside() {
		return clusterInside(ctx, s)
	}
	if err := netns.New(ctx); err != nil {
		return err
	}
	if err := clusterFaultsLoop(ctx, s); err != nil {
		return err
	}
	for round := 1; s.bazel && round <= rollingBuilds; round++ {
		if err := clusterRolling(ctx, s, round); err != nil {
			return fmt.Errorf("rolling restarts, %d rounds: %w", round, err)
		}
	}
	return nil
}

// clusterInside runs the loop in a copy of this program that has a network.
func clusterInside(ctx context.Context, s *settings) error {
	if err := netns.Available(); err != nil {
		return err
	}
	if err := os.Setenv("TEST_BGRID_NODE", s.binary); err != nil {
		return err
	}
	code, err := netns.Reenter(ctx, wholeExecution, fmt.Sprint("-rounds=", s.rounds), fmt.Sprint("-bazel=", s.bazel), fmt.Sprint("-seed=", s.seed), "-dir="+s.dir)
	if err == nil && code != 0 {
		err = errors.New("see above")
	}
	return err
}

func (s *settings) grid(ctx context.Context, name string, o cluster.Options) (*cluster.Grid, error) {
	o.Binary, o.Dir, o.Random, o.Say = s.binary, filepath.Join(s.dir, name), s.random(21), s.say
	return cluster.Start(ctx, o)
}

func clusterFaultsLoop(ctx context.Context, s *settings) error {
	g, err := s.grid(ctx, "faults", cluster.Options{})
	if err != nil {
		return err
	}
	defer g.Close()
	faults := clusterFaults
	if s.rounds > 0 {
		faults = s.rounds
	}
	if err := s.clusterFaults(ctx, g, faults); err != nil {
		return fmt.Errorf("%w\n%s", err, g.Logs())
	}
	return nil
}

func (s *settings) clusterFaults(ctx context.Context, g *cluster.Grid, faults int) error {
	if !s.bazel {
		return g.Loop(ctx, s.dir, faults, nil, nil)
	}
	f, err := cluster.Forward(netns.Here+":0", g.Servers())
	if err != nil {
		return err
	}
	defer f.Close()
	builds := cluster.StartBuilds(ctx, filepath.Join(s.dir, "builds"), f, clusterParts)
	defer builds.Abandon()
	return g.Loop(ctx, s.dir, faults, betweenBuilds(builds), func() error {
		err := builds.Stop()
		s.say("cluster: %s", builds)
		return err
	})
}

// betweenBuilds keeps faults that no build need survive away from builds. Without
// repair in the background, a build may rely on copies that an earlier lost disk took
// away: at most one disk is lost during each. Without a quorum nothing can be
// stored, and Bazel repeats for a few seconds only.
func betweenBuilds(builds *cluster.Builds) cluster.Around {
	return func(kind cluster.Kind, do func() error) error {
		if kind == cluster.OneNode {
			return do()
		}
		err := builds.Pause()
		if kind == cluster.Disk || err != nil {
			builds.Resume()
		} else {
			defer builds.Resume()
		}
		if err != nil {
			return err
		}
		return do()
	}
}

func clusterRolling(ctx context.Context, s *settings, round int) error {
	g, err := s.grid(ctx, fmt.Sprint("rolling-", round), cluster.Options{Slots: 2})
	if err != nil {
		return err
	}
	defer g.Close()
	if err := g.RestartDuringABuild(ctx, filepath.Join(s.dir, fmt.Sprint("rolling-", round)), rollingParts, round, round); err != nil {
		return fmt.Errorf("%w\n%s", err, g.Logs())
	}
	return nil
}
