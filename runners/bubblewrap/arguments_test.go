package bubblewrap

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/code"

	"errors"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/props"
)

// after returns the arguments that follow an option, up to the next one.
func after(args []string, option string) string {
	i := slices.Index(args, option)
	if i < 0 {
		return "absent"
	}
	j := i + 1
	for j < len(args) && !strings.HasPrefix(args[j], "--") {
		j++
	}
	return strings.Join(args[i+1:j], " ")
}

func TestArguments(t *testing.T) {
	for name, c := range map[string]struct {
		machine machine
		sandbox sandbox
		has     map[string]string // by option, what follows; absent: not there
		order   []string          // options in this order
	}{
		"an input root among the host's files": {
			machine{varTmp: true, hide: []string{"/var/lib/grid", "/tmp/data", "/run/x"}}, sandbox{root: "/w/1", workingDir: "a/b"},
			map[string]string{"--ro-bind": "/ /", "--bind": "/w/1 /run/bgrid/build", "--chdir": "/run/bgrid/build/a/b", "--uid": "0", "--gid": "0",
				"--proc": "/proc", "--unshare-net": "absent", "--cap-drop": "ALL", "--unshare-user": "", "--unshare-pid": "", "--die-with-parent": ""},
			[]string{"/ /", "/proc", "/tmp", "/run", "/var/tmp", "/var/lib/grid", "/w/1 /run/bgrid/build"},
		},
		"a root file system": {
			machine{varTmp: true, hide: []string{"/data"}}, sandbox{root: "/w/1", isRootFS: true, workingDir: "src"},
			map[string]string{"--bind": "/w/1 /", "--chdir": "/src", "--tmpfs": "/tmp", "--ro-bind": "absent"}, nil,
		},
		"a root file system with files in /tmp": {
			machine{}, sandbox{root: "/w/1", isRootFS: true, keepTmp: true}, map[string]string{"--tmpfs": "absent", "--chdir": "/"}, nil,
		},
		"another user, with network": {
			machine{ownNet: true}, sandbox{root: "/w", Sandbox: props.Sandbox{UID: 1000, GID: 100, Network: true}},
			map[string]string{"--uid": "1000", "--gid": "100", "--unshare-net": "absent", "--ro-bind-try": "/run/systemd/resolve /run/systemd/resolve"}, nil,
		},
		"a network is made where the shim has none": {machine{ownNet: true}, sandbox{root: "/w"}, map[string]string{"--unshare-net": ""}, nil},
		"a kernel that refuses a fresh /proc":       {machine{boundProc: true, root: true}, sandbox{root: "/w", isRootFS: true}, map[string]string{"--proc": "absent", "--ro-bind": "/proc /proc"}, nil},
		"as root the kernel's settings are covered": {machine{root: true}, sandbox{root: "/w", isRootFS: true}, map[string]string{"--ro-bind": "/proc/sys /proc/sys"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			args := arguments(c.machine, c.sandbox)
			for option, want := range c.has {
				if got := after(args, option); got != want {
					t.Errorf("%s %q, want %q in %q", option, got, want, args)
				}
			}
			text, at := strings.Join(args, " "), 0
			for _, part := range c.order {
				i := strings.Index(text[at:], part)
				if i < 0 {
					t.Fatalf("%q is missing, or too early, in %q", part, text)
				}
				at += i
			}
			for _, covered := range []string{"--tmpfs /tmp/data", "--tmpfs /run/x"} {
				if strings.Contains(text, covered) {
					t.Errorf("%q covers what is covered", covered)
				}
			}
		})
	}
}

func TestTheCommandsVariablesAreNotBwraps(t *testing.T) {
	got := strings.Join(environment([]string{"LD_PRELOAD=/evil.so", "A=b=c", "EMPTY="}), " ")
	if want := "--clearenv --setenv LD_PRELOAD /evil.so --setenv A b=c --setenv EMPTY "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	r := &Runner{bwrap: "/usr/bin/bwrap"}
	req := r.request(runners.Task{Args: []string{"x"}, Env: []string{"LD_PRELOAD=/evil.so"}}, sandbox{}, files{}, "x")
	if len(req.Env) != 0 {
		t.Errorf("bwrap's own: %q", req.Env)
	}
}

func TestMalformedUsersAreRefused(t *testing.T) {
	for _, value := range []string{"", "-1", "root", "4294967295", "99999999999"} {
		_, err := props.Read([]runners.Property{{Name: "unixUID", Value: value}})
		var failure *runners.Failure
		if !errors.As(err, &failure) || failure.Code != code.Code_FAILED_PRECONDITION || !strings.Contains(err.Error(), "unixUID") {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// What is read-only becomes so at the end, when the places of all mounts are made; a
// directory of the sandbox's own is not touched.
func TestReadOnlySubtrees(t *testing.T) {
	subtrees := []runners.Subtree{{ReadOnly: true}, {Path: "tmp", ReadOnly: true}, {Path: "dev"}, {Path: "proc/x", ReadOnly: true}, {Path: "a"}, {Path: "a/b", ReadOnly: true}}
	for name, c := range map[string]struct {
		sandbox sandbox
		want    string
	}{
		"a root file system": {sandbox{root: "/w", isRootFS: true},
			"--bind /w / --bind /w/a /a --bind /w/a/b /a/b --remount-ro / --remount-ro /a/b"},
		"with files in /tmp": {sandbox{root: "/w", isRootFS: true, keepTmp: true},
			"--bind /w / --bind /w/tmp /tmp --bind /w/a /a --bind /w/a/b /a/b --remount-ro / --remount-ro /tmp --remount-ro /a/b"},
		"among the host's files": {sandbox{root: "/w"},
			"--bind /w BUILD --bind /w/tmp BUILD/tmp --bind /w/dev BUILD/dev --bind /w/proc/x BUILD/proc/x --bind /w/a BUILD/a --bind /w/a/b BUILD/a/b " +
				"--remount-ro BUILD --remount-ro BUILD/tmp --remount-ro BUILD/proc/x --remount-ro BUILD/a/b"},
	} {
		c.sandbox.subtrees = subtrees
		args := arguments(machine{}, c.sandbox)
		var mounts []string
		last := ""
		for i, arg := range args {
			switch arg {
			case "--bind":
				mounts = append(mounts, args[i:i+3]...)
			case "--remount-ro":
				mounts = append(mounts, args[i:i+2]...)
			}
			if strings.HasPrefix(arg, "--") && arg != "--chdir" {
				last = arg
			}
		}
		if got := strings.Join(mounts, " "); got != strings.ReplaceAll(c.want, "BUILD", workTree) || last != "--remount-ro" {
			t.Errorf("%s: %s; the last option is %s", name, got, last)
		}
	}
}
