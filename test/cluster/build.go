package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bgrid-node/bgrid-node/test/bazel"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// Build lets Bazel build and test a workspace of so many parts once, behind the
// forwarder. It fails when the build does, when a command was run elsewhere than by
// the grid, or when Bazel says a word about trouble.
func Build(ctx context.Context, dir string, f *Forwarder, parts, seed int) (commands int, err error) {
	w, err := bazel.New(dir, f.Address(), harness.Instance, parts, seed)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Remove()) }()
	r, err := w.Run(ctx, "test", "//...")
	if err != nil {
		return 0, err
	}
	return r.Processes.Spawned(), checkBuild(r)
}

// trouble is what Bazel prints only when something is wrong. Its retries are not
// among it: it makes them silently. Debian's Bazel warns of its own configuration
// in each build.
var trouble = regexp.MustCompile(`(?m)^(ERROR|WARNING|FAILED|FATAL)\b.*$|^.*(UNAVAILABLE|INTERNAL|NOT_FOUND|DEADLINE_EXCEEDED|Exception).*$`)

func checkBuild(r bazel.Result) error {
	output := strings.Replace(r.Output, "WARNING: The following rc files are no longer being read", "", 1)
	switch found := trouble.FindString(output); {
	case r.ExitCode != 0:
		return fmt.Errorf("the Bazel build failed with exit code %d:\n%s", r.ExitCode, r.Output)
	case r.Processes.Spawned() != r.Processes[bazel.Remote]+r.Processes[bazel.CacheHit]:
		return fmt.Errorf("the Bazel build ran commands elsewhere: %v", r.Processes)
	case found != "":
		return fmt.Errorf("the Bazel build says %q:\n%s", found, r.Output)
	}
	return nil
}

// Builds runs one Bazel build after the other.
type Builds struct {
	turn       sync.Mutex // held by the build that runs, or by who wants none
	done       atomic.Int64
	commands   atomic.Int64
	complaints complaints
	wg         sync.WaitGroup
	cancel     context.CancelFunc
}

// StartBuilds begins builds of so many parts behind the forwarder. End it with Stop
// or Abandon.
func StartBuilds(ctx context.Context, dir string, f *Forwarder, parts int) *Builds {
	ctx, cancel := context.WithCancel(ctx)
	b := &Builds{cancel: cancel}
	b.wg.Go(func() {
		for seed := 1; ctx.Err() == nil; seed++ {
			b.turn.Lock()
			n, err := Build(ctx, filepath.Join(dir, fmt.Sprint("bazel-", seed)), f, parts, seed)
			if ctx.Err() == nil {
				b.complaints.add(err)
				b.done.Add(1)
				b.commands.Add(int64(n))
			}
			b.turn.Unlock()
		}
	})
	return b
}

// Pause waits until the build that runs has ended; no other begins before Resume.
// The error is what is wrong with any until now.
func (b *Builds) Pause() error {
	b.turn.Lock()
	return b.complaints.err()
}

// Resume lets builds go on after Pause.
func (b *Builds) Resume() { b.turn.Unlock() }

// Stop waits for the build that runs, begins no other, and returns what is wrong
// with any.
func (b *Builds) Stop() error {
	err := b.Pause()
	b.cancel()
	b.Resume()
	b.wg.Wait()
	return err
}

// Abandon ends the build that runs, if any.
func (b *Builds) Abandon() {
	b.cancel()
	b.wg.Wait()
}

// String counts what was built.
func (b *Builds) String() string {
	return fmt.Sprintf("%d Bazel builds of %d commands", b.done.Load(), b.commands.Load())
}
