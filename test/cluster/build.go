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
	dir   string
	f     *Forwarder
	parts int

	done       atomic.Int64
	commands   atomic.Int64
	complaints complaints
	wg         sync.WaitGroup
	cancel     context.CancelFunc
	mu         sync.Mutex
	ended      chan struct{} // guarded by mu; closed when the build that runs ends
}

// StartBuilds begins. End it with Stop.
func StartBuilds(ctx context.Context, dir string, f *Forwarder, parts int) *Builds {
	ctx, cancel := context.WithCancel(ctx)
	b := &Builds{dir: dir, f: f, parts: parts, cancel: cancel, ended: make(chan struct{})}
	b.wg.Go(func() {
		for seed := 1; ctx.Err() == nil; seed++ {
			n, err := Build(ctx, filepath.Join(b.dir, fmt.Sprint("bazel-", seed)), b.f, b.parts, seed)
			if ctx.Err() == nil {
				b.complaints.add(err)
				b.done.Add(1)
				b.commands.Add(int64(n))
			}
			b.mu.Lock()
			close(b.ended)
			b.ended = make(chan struct{})
			b.mu.Unlock()
		}
	})
	return b
}

// Next waits until the build that runs has ended, and returns what is wrong with
// any.
func (b *Builds) Next(ctx context.Context) error {
	b.mu.Lock()
	ended := b.ended
	b.mu.Unlock()
	select {
	case <-ended:
		return b.complaints.err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop waits for the build that runs, ends the next one, and returns what is wrong
// with any.
func (b *Builds) Stop(ctx context.Context) error {
	err := b.Next(ctx)
	b.Abandon()
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
