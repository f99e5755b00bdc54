package runners_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/runnertest"
)

// sandboxes are the ways in which an action is isolated: the runner, and whether
// its input root is the root file system of its own.
var sandboxes = []struct {
	name, runner string
	rootFS       bool
}{
	{"bubblewrap", "bubblewrap", false}, {"bubblewrap, own root", "bubblewrap", true}, {"userchroot", "userchroot", false},
}

// inEachSandbox runs a script in each kind of sandbox, each time with a fresh
// input root that holds "mine".
func inEachSandbox(t *testing.T, b *bench, do func(t *testing.T, l func(script string, outputs ...string) *runners.Lease)) {
	rootFS := b.rootFS()
	for _, s := range sandboxes {
		t.Run(s.name, func(t *testing.T) {
			do(t, func(script string, outputs ...string) *runners.Lease {
				root := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("mine", "mine\n")}})
				if s.rootFS {
					root = rootFS
				}
				return b.inRunner(s.runner, sh(script, outputs...), root, chrootOf(rootFS))
			})
		})
	}
}

func TestNoWayOutOfASandbox(t *testing.T) {
	b := startSandboxed(t)
	secret := filepath.Join(b.options.Dir, "secret")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	scripts := map[string]string{
		"the worker's directory":            "cat " + secret + "; ls " + b.options.Dir + "/roots",
		"the root of the first process":     "cat /proc/1/root" + secret,
		"the root of every process":         "for p in /proc/[0-9]*; do cat $p/root" + secret + " $p/cwd/../../secret; done",
		"a parent directory":                "cat ../../../../../../../../.." + secret,
		"the host's devices":                "ls /dev/vda /dev/sda /dev/nvme0n1 /dev/mem /dev/kmsg && echo secret",
		"the settings of the host's kernel": "echo secret >/proc/sys/kernel/hostname && echo secret; echo h >/proc/sysrq-trigger && echo secret",
		"mounting":                          "mount -t tmpfs none /tmp && echo secret; mount -t proc none /proc && echo secret",
		"descriptors that were left open":   "for f in 3 4 5 6 7 8 9; do cat /proc/self/fd/$f/secret /proc/self/fd/$f" + secret + "; done",
	}
	inEachSandbox(t, b, func(t *testing.T, lease func(string, ...string) *runners.Lease) {
		for name, script := range scripts {
			c := b.run(lease("(" + script + ") 2>/dev/null; echo end"))
			if c.Status != nil {
				t.Fatalf("%s: %v", name, c.Status)
			}
			if out := b.text(c.Result.StdoutDigest); out != "end\n" {
				t.Errorf("%s: it got %q", name, out)
			}
		}
	})
}

func TestAnActionDoesNotSeeAnother(t *testing.T) {
	b := startSandboxed(t)
	inEachSandbox(t, b, func(t *testing.T, lease func(string, ...string) *runners.Lease) {
		first := lease("echo precious-content >held; : precious-argument; while :; do sleep 0.1; done", "held")
		b.assign(first)
		for held := 0; held == 0; {
			for _, pattern := range []string{"roots/*/held", "roots/*/upper/held"} {
				found, err := filepath.Glob(filepath.Join(b.options.Dir, pattern))
				if err != nil {
					t.Fatal(err)
				}
				held += len(found)
			}
			runtime.Gosched()
		}
		look := `cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ /proc/[0-9]*/cwd/held /proc/[0-9]*/root/held DIR/roots/*/held DIR/roots/*/upper/held 2>/dev/null |
			grep -ac 'precious-[c]ontent\|precious-[a]rgument'; true`
		if out, _ := b.stdout(lease(strings.ReplaceAll(look, "DIR", b.options.Dir))); out != "0\n" {
			t.Errorf("it found %q lines of another's", out)
		}
		b.session.events <- runners.Event{Cancelled: first.ID}
		if c := b.completion(); c.Status.GetCode() != int32(code.Code_CANCELLED) {
			t.Errorf("the first: %v", c.Status)
		}
	})
}

func TestKillingEverythingHarmsNobodyElse(t *testing.T) {
	b := startSandboxed(t)
	inEachSandbox(t, b, func(t *testing.T, lease func(string, ...string) *runners.Lease) {
		for _, script := range []string{
			"kill -9 1; kill -TERM 1; kill -HUP 1; kill -9 $PPID; echo alive",
			fmt.Sprintf("kill -9 %d %d; echo alive", os.Getpid(), os.Getppid()),
		} {
			c := b.run(lease("(" + script + ") 2>/dev/null"))
			if c.Status != nil || b.text(c.Result.StdoutDigest) != "alive\n" {
				t.Errorf("%q: status %v, result %v", script, c.Status, c.Result)
			}
		}
		b.run(lease("kill -9 -1")) // itself, and no other
		if out, _ := b.stdout(lease("echo next")); out != "next\n" {
			t.Errorf("the next action: %q", out)
		}
	})
}

func TestOutputsAreNotFollowedOutOfTheTree(t *testing.T) {
	b := startSandboxed(t)
	secret := filepath.Join(b.options.Dir, "secret")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	inEachSandbox(t, b, func(t *testing.T, lease func(string, ...string) *runners.Lease) {
		for _, target := range []string{secret, "../../../../../../../../../.." + secret} {
			c := b.run(lease("ln -s "+target+" d/out; ln -s "+filepath.Dir(target)+" d/dir", "d/out", "d/dir/secret"))
			if c.Status != nil {
				t.Errorf("status %v", c.Status)
			}
			if files := c.Result.GetOutputFiles(); len(files) != 0 {
				t.Errorf("files behind links were taken: %v", files)
			}
		}
		for _, out := range []string{"../out", "/etc/passwd", "a/../../out"} {
			if c := b.run(lease("true", out)); c.Status.GetCode() != int32(code.Code_INVALID_ARGUMENT) {
				t.Errorf("the output %q: status %v", out, c.Status)
			}
		}
	})
}

func TestThousandsOfProcessesAreGone(t *testing.T) {
	b, groups := startLimited(t, runners.Limits{Processes: 150})
	if groups == nil && os.Geteuid() == 0 {
		t.Log("only control groups hold root to a number of processes")
		return
	}
	inEachSandbox(t, b, func(t *testing.T, lease func(string, ...string) *runners.Lease) {
		c := b.run(lease(`i=0; while [ $i -lt 10000 ]; do setsid sleep 1000 & i=$((i+1)); done; echo all`))
		if c.Status != nil || c.Result.ExitCode == 0 || b.text(c.Result.StdoutDigest) != "" {
			t.Errorf("status %v, result %v", c.Status, c.Result)
		}
		if out, _ := b.stdout(lease("echo next")); out != "next\n" {
			t.Errorf("the next action: %q", out)
		}
	})
}

func TestAFullDiskEndsWithTheActionThatFilledIt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can make a small disk")
		return
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Logf("no small disk here: %v", err)
		return
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	b := start(t, func(o *runners.WorkerOptions) { o.Dir = filepath.Join(dir, "work") })
	fill := sh("i=0; while :; do head -c 1000000 /dev/zero >f$i || sleep 1000; i=$((i+1)); done", "f0")
	c := b.run(b.lease(fill, noInputs))
	if c.Status.GetCode() != int32(code.Code_RESOURCE_EXHAUSTED) || !strings.Contains(c.Status.Message, "disk") {
		t.Errorf("status %v", c.Status)
	}
	b.result(sh("echo next >o", "o"), noInputs)
}

func TestEscapesAsOrdinaryUser(t *testing.T) {
	if runnertest.AsOrdinaryUser(t) {
		return
	}
	t.Run("ways out", TestNoWayOutOfASandbox)
	t.Run("killing", TestKillingEverythingHarmsNobodyElse)
}
