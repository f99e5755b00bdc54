package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/test/cluster/netns"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// RestartDuringABuild lets Bazel build while all nodes are restarted, one after the
// other, for so many rounds, and ends the grid. The build must succeed and say
// nothing about it, and no command may have been given to a worker twice. The build
// must be long enough to be under way until the last restart begins.
func (g *Grid) RestartDuringABuild(ctx context.Context, dir string, parts, rounds, seed int) error {
	f, err := Forward(netns.Here+":0", g.Servers())
	if err != nil {
		return err
	}
	defer f.Close()
	type ending struct {
		commands int
		err      error
	}
	ended := make(chan ending, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		n, err := Build(ctx, filepath.Join(dir, "bazel"), f, parts, seed)
		ended <- ending{n, err}
	}()
	if err := g.awaitOperation(ctx); err != nil {
		cancel()
		return errors.Join(err, (<-ended).err)
	}
	for i := range rounds * len(g.Members) {
		select {
		case end := <-ended:
			return errors.Join(errors.New("the build ended before all nodes were restarted: make it longer"), end.err)
		default:
		}
		if err := g.restart(ctx, g.Members[i%len(g.Members)]); err != nil {
			cancel()
			return errors.Join(err, (<-ended).err)
		}
	}
	end := <-ended
	if end.err != nil {
		return end.err
	}
	if err := g.Compare(ctx); err != nil {
		return err
	}
	again, jobs, err := repeated(ctx, g.Members[0].DataDir())
	if err != nil {
		return err
	}
	g.say("a build of %d commands while all nodes were restarted: %d jobs, %d of them given to a worker again", end.commands, jobs, len(again))
	if len(again) > 0 || jobs < end.commands {
		return fmt.Errorf("%d commands of the build were jobs %d times; given to a worker again: %s", end.commands, jobs, strings.Join(again, "; "))
	}
	return nil
}

// awaitOperation returns once a build has begun to execute.
func (g *Grid) awaitOperation(ctx context.Context) error {
	c, err := client.Dial("passthrough:///"+g.Servers()[0], harness.Instance, client.Options{Tool: "cluster-test"})
	if err != nil {
		return err
	}
	defer c.Close()
	for began := time.Now(); time.Since(began) < callerPatience; {
		found := false
		if err := c.ListOperations(ctx, "", func(*client.Operation) bool { found = true; return false }); err != nil || found {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("no operation within %s", callerPatience)
}
