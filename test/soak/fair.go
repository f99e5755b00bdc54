package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

const (
	fairQueue  = 10_000
	fairBuild  = 20
	fairSlots  = "8"
	fairAction = "1" // seconds
)

// fairLoop measures a small build alone, and behind ten thousand actions of
// somebody else: it may take twice as long, and a second.
func fairLoop(ctx context.Context, s *settings) error {
	n, err := harness.Launch(ctx, harness.Options{
		Binary: s.binary, Dir: filepath.Join(s.dir, "data"), Args: []string{"--cas-max-size", "4GiB", "--slots", fairSlots, "--runner", "hosttools"},
	})
	if err != nil {
		return err
	}
	defer n.Kill()
	alone, err := fairMakespan(ctx, n, "alone")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var crowd sync.WaitGroup
	defer crowd.Wait()
	defer cancel()
	if err := fairCrowd(ctx, n, &crowd); err != nil {
		return err
	}
	behind, err := fairMakespan(ctx, n, "behind")
	if err != nil {
		return err
	}
	s.say("fair: a build of %d actions takes %s alone, %s behind %d others", fairBuild, alone.Round(time.Millisecond), behind.Round(time.Millisecond), fairQueue)
	if limit := 2*alone + time.Second; behind > limit {
		return fmt.Errorf("the build took %s, at most %s is promised", behind, limit)
	}
	return nil
}

// fairRun executes one action of an invocation.
func fairRun(ctx context.Context, c *client.Client, name string, watch func(*client.Operation)) error {
	inputs, err := client.NewTreeBuilder(digest.SHA256).Build(ctx)
	if err != nil {
		return err
	}
	job := client.Job{Arguments: []string{"/bin/sleep", fairAction}, Env: map[string]string{"NAME": name}}
	p, err := job.Prepare(digest.SHA256, inputs)
	if err != nil {
		return err
	}
	op, err := c.Run(ctx, p, watch, nil)
	if err != nil {
		return err
	}
	return op.Outcome()
}

func fairMakespan(ctx context.Context, n *harness.Node, name string) (time.Duration, error) {
	c, err := n.Client(client.Options{Tool: "soak", Invocation: name})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	group, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for i := range fairBuild {
		group.Go(func() error { return fairRun(ctx, c, fmt.Sprint(name, i), nil) })
	}
	err = group.Wait()
	return time.Since(began), err
}

// fairCrowd returns when all actions of the crowd are accepted.
func fairCrowd(ctx context.Context, n *harness.Node, crowd *sync.WaitGroup) error {
	c, err := n.Client(client.Options{Tool: "soak", Invocation: "crowd"})
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = c.Close() })
	accepted := make(chan struct{}, fairQueue)
	failed := make(chan error, fairQueue)
	for i := range fairQueue {
		crowd.Go(func() {
			var once sync.Once
			err := fairRun(ctx, c, fmt.Sprint("crowd", i), func(*client.Operation) { once.Do(func() { accepted <- struct{}{} }) })
			if err != nil && ctx.Err() == nil {
				failed <- err
			}
		})
	}
	for range fairQueue {
		select {
		case <-accepted:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
