package realclient

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/test/bazel"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

const (
	parts       = 32
	leastRemote = 30 + parts // C++ compilations and what comes with them
)

// TestBazel is one story: a workspace is built and tested remotely, then from the
// cache, then without its outputs; then an action fails.
func TestBazel(t *testing.T) {
	if err := bazel.Installed(); err != nil {
		t.Fatal(err)
	}
	n := harness.Start(t)
	w, err := bazel.New(filepath.Join(t.TempDir(), "bazel"), n.GRPC, harness.Instance, parts, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Remove(); err != nil {
			t.Error(err)
		}
	})
	b := builder{t: t, w: w, c: n.Dial(t)}
	b.firstBuildIsRemote()
	b.secondBuildIsCached()
	b.minimalBuildFetchesNothing()
	b.minimalBuildExecutes()
	b.failureIsReportedAndNotCached()
}

// builder runs Bazel in the steps of the story; a step that fails ends it.
type builder struct {
	t *testing.T
	w *bazel.Workspace
	c *client.Client
}

func (b builder) run(wantExit int, command string, args ...string) bazel.Result {
	b.t.Helper()
	r, err := b.w.Run(b.t.Context(), command, args...)
	if err != nil {
		b.t.Fatal(err)
	}
	if r.ExitCode != wantExit {
		b.t.Fatalf("bazel %s %s: exit code %d, want %d\n%s", command, strings.Join(args, " "), r.ExitCode, wantExit, r.Output)
	}
	b.t.Logf("bazel %s %s: %v", command, strings.Join(args, " "), r.Processes)
	return r
}

func (b builder) firstBuildIsRemote() {
	b.t.Helper()
	r := b.run(0, "test", "//...", "--test_output=all")
	if !r.Processes.AllBy(bazel.Remote) || r.Processes.Spawned() < leastRemote {
		b.t.Fatalf("processes: %v, want at least %d, all of them remote\n%s", r.Processes, leastRemote, r.Output)
	}
	if !strings.Contains(r.Output, "the parts add up") || !strings.Contains(r.Output, "1 test passes") {
		b.t.Fatalf("the remote test's output is not shown\n%s", r.Output)
	}
	if executed := b.operations("action_mnemonic=TestRunner"); executed == 0 {
		b.t.Fatal("the node knows of no test action")
	}
	b.checkOutputs()
}

// checkOutputs looks at what came back: content, executable bits, directories.
func (b builder) checkOutputs() {
	b.t.Helper()
	listing := b.read("gen/listing.txt") // Bazel hands empty directories to nobody
	want := "ran\n.\n./deep\n./deep/er\n./deep/er/words.txt.upper\n./run.sh\nWORD 1\nWORD 2\nWORD 3\n"
	if listing != want {
		b.t.Fatalf("an action saw of a directory:\n%s\nwant:\n%s", listing, want)
	}
	for path, mode := range map[string]os.FileMode{"app/app": 0o100, "gen/tree/run.sh": 0o100} {
		info, err := os.Stat(b.out(path))
		if err != nil || info.Mode()&mode == 0 {
			b.t.Fatalf("%s: %v, %v; want mode %v", path, info, err, mode)
		}
	}
}

func (b builder) secondBuildIsCached() {
	b.t.Helper()
	b.run(0, "clean")
	r := b.run(0, "test", "//...")
	if !r.Processes.AllBy(bazel.CacheHit) || r.Processes.Spawned() < leastRemote {
		b.t.Fatalf("processes: %v, want at least %d, all of them remote cache hits\n%s", r.Processes, leastRemote, r.Output)
	}
	b.checkOutputs()
}

func (b builder) minimalBuildFetchesNothing() {
	b.t.Helper()
	b.run(0, "clean")
	r := b.run(0, "build", "//...", "--remote_download_minimal")
	if !r.Processes.AllBy(bazel.CacheHit) {
		b.t.Fatalf("processes: %v, want all of them remote cache hits\n%s", r.Processes, r.Output)
	}
	if _, err := os.Stat(b.out("app/app")); !os.IsNotExist(err) {
		b.t.Fatalf("the program was downloaded (%v)", err)
	}
}

// minimalBuildExecutes lets actions run whose inputs were never on the client.
func (b builder) minimalBuildExecutes() {
	b.t.Helper()
	b.run(0, "clean")
	r := b.run(0, "test", "//app:app_test", "//gen:all", "--remote_download_minimal", "--noremote_accept_cached")
	if !r.Processes.AllBy(bazel.Remote) {
		b.t.Fatalf("processes: %v, want all of them remote\n%s", r.Processes, r.Output)
	}
}

var failureText = regexp.MustCompile(`this rule fails: [0-9a-f-]{36}`)

func (b builder) failureIsReportedAndNotCached() {
	b.t.Helper()
	const buildFailed = 1
	first := failureText.FindString(b.run(buildFailed, "build", "//fail").Output)
	second := failureText.FindString(b.run(buildFailed, "build", "//fail").Output)
	if first == "" || second == "" {
		b.t.Fatalf("the failing action's stderr did not come back: %q and %q", first, second)
	}
	if first == second {
		b.t.Fatalf("the failing action was answered from the cache: twice %q", first)
	}
}

// operations counts the finished operations that a filter finds.
func (b builder) operations(filter string) (n int) {
	b.t.Helper()
	err := b.c.ListOperations(b.t.Context(), "stage=COMPLETED & "+filter, func(*client.Operation) bool {
		n++
		return true
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// out returns the path of an output in the workspace.
func (b builder) out(path string) string { return filepath.Join(b.w.Dir(), "bazel-bin", path) }

func (b builder) read(path string) string {
	b.t.Helper()
	data, err := os.ReadFile(b.out(path))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}
