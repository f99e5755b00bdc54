package kubelet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/test/bazel"
	"github.com/bgrid-node/bgrid-node/test/cluster/netns"
	"github.com/bgrid-node/bgrid-node/test/k8s"
)

const top = "../../.."

// buildParts makes builds of half a minute or so on two cores.
const buildParts = 48

// dir returns a directory of the test that every user may enter.
func dir(t *testing.T) string {
	t.Helper()
	d := t.TempDir()
	for _, path := range []string{d, filepath.Dir(d)} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// images unpacks the file trees of both images.
func images(t *testing.T) map[string]string {
	t.Helper()
	debian, err := filepath.Abs(top + "/bin/image/debian.tar")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(debian); err != nil {
		t.Skip("needs bin/image/debian.tar, which test/setup.sh makes as root with debootstrap")
	}
	trees := map[string]string{}
	for image, args := range map[string][]string{"bgrid-node:dev": {"grid"}, "bgrid-worker:dev": {"worker", debian}} {
		archive := filepath.Join(t.TempDir(), "image.tar")
		run(t, top+"/packaging/image/rootfs.sh", append(args, archive)...)
		trees[image] = dir(t)
		run(t, "tar", "-xf", archive, "-C", trees[image], "--numeric-owner")
		if err := os.Remove(archive); err != nil {
			t.Fatal(err)
		}
	}
	return trees
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "BINARY="+os.Getenv("TEST_BGRID_NODE"), "SOURCE_DATE_EPOCH=1700000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// create runs k8s/ as a cluster would.
func create(t *testing.T) *Cluster {
	t.Helper()
	if err := netns.Available(); err != nil {
		t.Skip(err)
	}
	if err := bazel.Installed(); err != nil {
		t.Fatal(err)
	}
	files, err := k8s.Files(top + "/k8s")
	if err != nil {
		t.Fatal(err)
	}
	set, err := k8s.Decode(files)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Create(t.Context(), Options{Set: set, Images: images(t), Dir: dir(t), Say: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Problem(); err != nil {
			t.Log(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestTheManifestsRun creates everything, and lets Bazel build through the service for
// clients, again and again. Meanwhile a node's pod is killed, two workers are deleted,
// and all nodes are replaced one by one. No build may notice. Then it does what the guides
// say.
func TestTheManifestsRun(t *testing.T) {
	began := time.Now()
	c := create(t)
	for _, w := range c.options.Set.Workloads() {
		if w.Pod.RestartPolicy == "OnFailure" {
			continue
		}
		if err := c.AwaitReady(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("all pods are ready %.1f s after their creation", time.Since(began).Seconds())
	stop := make(chan struct{})
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		var err error
		for seed := 1; err == nil; seed++ {
			err = build(ctx, t, c, seed)
			select {
			case <-stop:
				ended <- err
				return
			default:
			}
		}
		ended <- err
	}()
	disturb(t, c)
	close(stop)
	if err := <-ended; err != nil {
		t.Errorf("%v\n%s", err, c.Logs())
	}
	for _, page := range []string{"kubernetes.md", "from-buildgrid.md"} {
		follow(t, c, page)
	}
	if err := c.Problem(); err != nil {
		t.Error(err)
	}
}

// disturb does what builds must not notice.
func disturb(t *testing.T, c *Cluster) {
	t.Helper()
	awaitRunning(t, c)
	if err := c.Kill(t.Context(), "bgrid-1"); err != nil {
		t.Fatal(err)
	}
	for _, w := range c.options.Set.Workloads() {
		if w.Set == nil {
			continue
		}
		if err := c.AwaitReady(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		for _, pod := range []string{"bgrid-worker-bubblewrap-0", "bgrid-worker-hosttools-1"} {
			if err := c.Delete(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Restart(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
}

// build lets Bazel build and test a workspace, by the address for clients.
func build(ctx context.Context, t *testing.T, c *Cluster, seed int) error {
	w, err := bazel.New(filepath.Join(t.TempDir(), "bazel"), c.Service("bgrid"), "buildgrid", buildParts, seed)
	if err != nil {
		return err
	}
	defer func() { _ = w.Remove() }()
	began := time.Now()
	r, err := w.Run(ctx, "test", "//...")
	if err != nil {
		return err
	}
	t.Logf("the build of %d commands took %.1f s", r.Processes.Spawned(), time.Since(began).Seconds())
	remote := r.Processes[bazel.Remote] + r.Processes[bazel.CacheHit]
	if r.ExitCode != 0 || r.Processes.Spawned() != remote || remote == 0 {
		return fmt.Errorf("the build ended with %d, %v:\n%s", r.ExitCode, r.Processes, r.Output)
	}
	for _, word := range []string{"ERROR", "FAILED", "UNAVAILABLE", "INTERNAL", "NOT_FOUND"} {
		if strings.Contains(r.Output, word) {
			return fmt.Errorf("the build says %s:\n%s", word, r.Output)
		}
	}
	return nil
}

// awaitRunning returns once the grid runs an action.
func awaitRunning(t *testing.T, c *Cluster) {
	t.Helper()
	var out string
	err := c.await(t.Context(), "an action", func() bool {
		out, _ = c.Pod("bgrid-0").Exec(t.Context(), "/usr/bin/bgrid-node", "operation", "list")
		return strings.Contains(strings.ToLower(out), "executing")
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
