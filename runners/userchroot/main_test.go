package userchroot

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/runnertest"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

func TestMain(m *testing.M) {
	MaybeRun()
	shim.MaybeRun()
	os.Exit(m.Run())
}

func newRunner(t testing.TB) *Runner {
	t.Helper()
	r, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// inChroot puts a root file system into each task's directory, which the suite
// shares with its commands by named pipes: those of an overlay are others.
type inChroot struct {
	*Runner
	t      testing.TB
	rootFS string
	once   sync.Once
}

func (r *inChroot) Run(ctx context.Context, task runners.Task) (runners.Exit, error) {
	r.once.Do(func() {
		if err := linkTree(r.rootFS, task.Dir); err != nil {
			r.t.Error(err)
		}
	})
	task.Layers = &runners.Layers{Writable: []string{""}, Fixed: []string{"bin", "usr", "lib"}}
	return r.Runner.Run(ctx, task)
}

func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return os.Link(path, filepath.Join(to, rel))
	})
}

func TestConformance(t *testing.T) {
	rootFS := t.TempDir()
	runnertest.RootFS(t, rootFS, runnertest.Tools...)
	r := newRunner(t)
	runnertest.RunAll(t, func(t *testing.T) runners.Runner { return &inChroot{Runner: r, t: t, rootFS: rootFS} })
}

func TestConformanceAsOrdinaryUser(t *testing.T) {
	if runnertest.AsOrdinaryUser(t) {
		return
	}
	TestConformance(t)
}
