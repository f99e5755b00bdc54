package bubblewrap

import (
	"os"
	"testing"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/runnertest"
	"github.com/bgrid-node/bgrid-node/runners/shim"
)

func TestMain(m *testing.M) {
	shim.MaybeRun()
	os.Exit(m.Run())
}

func newRunner(t testing.TB, o Options) *Runner {
	t.Helper()
	r, err := New(o)
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

func TestConformance(t *testing.T) {
	r := newRunner(t, Options{Dir: t.TempDir()})
	runnertest.RunAll(t, func(*testing.T) runners.Runner { return r }, "PWD")
}

func TestConformanceAsOrdinaryUser(t *testing.T) {
	if runnertest.AsOrdinaryUser(t) {
		return
	}
	TestConformance(t)
}
