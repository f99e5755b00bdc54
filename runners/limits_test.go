package runners_test

import (
	"os"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/bubblewrap"
	"github.com/bgrid-node/bgrid-node/runners/cgroup"
	"github.com/bgrid-node/bgrid-node/runners/hosttools"
	"github.com/bgrid-node/bgrid-node/runners/userchroot"
)

// startLimited starts a worker whose runners have control groups, where this
// machine gives some.
func startLimited(t *testing.T, limits runners.Limits) (b *bench, groups *cgroup.Manager) {
	t.Helper()
	groups, err := cgroup.Find()
	if err != nil {
		t.Logf("no control groups: %v", err)
		groups = nil
	}
	dir := t.TempDir()
	host, err := hosttools.New(hosttools.Options{Dir: dir, Groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	bwrap, err := bubblewrap.New(bubblewrap.Options{Dir: dir, Groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	chroot, err := userchroot.New(userchroot.Options{Dir: dir, Groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	b = start(t, func(o *runners.WorkerOptions) {
		o.Dir, o.Runners, o.TreeBytes, o.Limits = dir, []runners.Runner{host, bwrap, chroot}, 1<<30, limits
	})
	t.Cleanup(func() {
		b.kill()
		<-b.stopped
		for _, r := range []interface{ Close() error }{host, bwrap, chroot} {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return b, groups
}

var limitTests = []struct {
	name, property, value string
	script                string
	grouped               bool // needs control groups
	message               string
}{
	{"memory", "limit-memory", "64MiB", "head -c 300000000 /dev/zero | tail -c 300000000 >/dev/null", true, "more memory than the limit of 64 MiB"},
	{"stdout", "limit-output", "1MB", "while :; do echo 0123456789012345678901234567890123456789; done", false, "stdout or stderr became larger than the limit of 1000000 bytes"},
	{"a file", "limit-file-size", "1MiB", "exec head -c 3000000 /dev/zero >big", false, "a file larger than the limit of 1 MiB"},
	{"time", "limit-time", "1", "sleep 1000", false, "time-out of 1s"},
	{"a fork bomb", "limit-processes", "20", "(i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done) 2>err; [ -s err ] && exit 3", false, ""},
}

func TestLimitsHoldUnderEveryRunner(t *testing.T) {
	b, groups := startLimited(t, runners.Limits{})
	chroot := chrootOf(b.rootFS())
	for _, runner := range []string{"hosttools", "bubblewrap", "userchroot"} {
		for _, c := range limitTests {
			t.Run(runner+"/"+c.name, func(t *testing.T) {
				if c.name == "time" && runner != "hosttools" {
					return // it is the worker's, whatever the runner
				}
				if groups == nil && c.grouped || groups == nil && c.property == "limit-processes" && os.Geteuid() == 0 {
					t.Log("only control groups can do this here")
					return
				}
				l := b.inRunner(runner, sh(c.script, "big", "err"), noInputs, chroot, runners.Property{Name: c.property, Value: c.value})
				got := b.run(l)
				if c.message == "" {
					if got.Status != nil || got.Result.ExitCode == 0 {
						t.Errorf("status %v, result %v", got.Status, got.Result)
					}
					return
				}
				want := code.Code_RESOURCE_EXHAUSTED
				if c.name == "time" {
					want = code.Code_DEADLINE_EXCEEDED
				}
				if got.Status.GetCode() != int32(want) || !strings.Contains(got.Status.Message, c.message) || got.Result.GetExitCode() == 0 {
					t.Errorf("status %v, exit code %d", got.Status, got.Result.GetExitCode())
				}
			})
		}
	}
}

func TestAnActionCannotRaiseItsLimits(t *testing.T) {
	b, _ := startLimited(t, runners.Limits{FileSize: 1 << 20})
	script := sh("ulimit -f 100000 2>/dev/null; exec head -c 3000000 /dev/zero >big")
	l := b.inRunner("hosttools", script, noInputs, runners.Property{Name: "limit-file-size", Value: "1TiB"})
	if c := b.run(l); c.Status.GetCode() != int32(code.Code_RESOURCE_EXHAUSTED) && os.Geteuid() != 0 {
		t.Errorf("status %v", c.Status)
	}
	l = b.inRunner("bubblewrap", script, noInputs, runners.Property{Name: "limit-file-size", Value: "1TiB"})
	if c := b.run(l); c.Status.GetCode() != int32(code.Code_RESOURCE_EXHAUSTED) {
		t.Errorf("sandboxed: status %v", c.Status)
	}
}

func TestAMalformedLimitIsRefused(t *testing.T) {
	b := start(t, nil)
	for _, p := range []runners.Property{
		{Name: "limit-memory", Value: "much"}, {Name: "limit-memory", Value: "0"}, {Name: "limit-memory", Value: "9223372036854775807GiB"},
		{Name: "limit-cpus", Value: "-1"}, {Name: "limit-cpus", Value: "NaN"}, {Name: "limit-time", Value: "soon"}, {Name: "max-mem", Value: ""},
	} {
		l := b.lease(sh("true"), noInputs)
		l.Properties = []runners.Property{p}
		if c := b.run(l); c.Status.GetCode() != int32(code.Code_FAILED_PRECONDITION) || !strings.Contains(c.Status.Message, p.Name) {
			t.Errorf("%s=%q: status %v", p.Name, p.Value, c.Status)
		}
	}
}
