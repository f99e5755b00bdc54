package runnertest

import (
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/bgrid-node/bgrid-node/runners"
)

var surroundingsTests = []test{
	{"the environment is the command's and nothing else", func(r *rig) {
		r.Setenv("LEAKED_FROM_THE_NODE", "1")
		t := r.task("/usr/bin/env")
		t.Env = []string{"ZULU=1", "ALPHA=two words", "EMPTY=", "LINES=a\nb"}
		r.wantEnvironment(t, "ZULU=1\nALPHA=two words\nEMPTY=\nLINES=a\nb\n")
		t.Env = nil
		r.wantEnvironment(t, "")
	}},
	{"arguments arrive byte by byte", func(r *rig) {
		args := []string{"", "two words", "new\nline", "'\"$`\\*", "\xff\xfe\x01", "äöü", strings.Repeat("x", 100_000)}
		t := r.task(append([]string{"/bin/sh", "-c", `printf '%s|' "$@"`, "name"}, args...)...)
		r.wantExit(t, 0, strings.Join(args, "|")+"|")
	}},
	{"ten thousand arguments arrive", func(r *rig) {
		args := []string{"/bin/sh", "-c", `echo $# "$1"; shift 9999; echo "$1" $#`, "name"}
		for i := range 10_000 {
			args = append(args, "it's "+strconv.Itoa(i))
		}
		r.wantExit(r.task(args...), 0, "10000 it's 0\nit's 9999 1\n")
	}},
	{"a command line longer than the kernel takes is refused with 126", func(r *rig) {
		o := r.run(r.task("/bin/echo", strings.Repeat("x", 3<<20)))
		if o.Code != 126 || o.stderr == "" {
			r.Errorf("exit code %d, stderr %q", o.Code, o.stderr)
		}
	}},
	{"the command starts in its working directory", func(r *rig) {
		r.write("top", "top\n", 0o644)
		r.write("a/b/here", "here\n", 0o644)
		t := r.sh("cat here ../../top; echo made >new")
		t.WorkingDir = "a/b"
		r.wantExit(t, 0, "here\ntop\n")
		if got := r.read(filepath.Join(r.dir, "a/b/new")); got != "made\n" {
			r.Errorf("what it wrote is %q", got)
		}
	}},
	{"stdin is empty and at its end", func(r *rig) {
		r.wantExit(r.sh("[ -c /dev/stdin ] && cat && echo end"), 0, "end\n")
	}},
	{"no file of the node is open in the command", func(r *rig) {
		fd, err := syscall.Open(r.dir, syscall.O_RDONLY, 0) // inheritable
		if err != nil {
			r.Fatal(err)
		}
		defer syscall.Close(fd)
		r.wantExit(r.task("/bin/ls", "/proc/self/fd"), 0, "0\n1\n2\n3\n") // 3 is ls's own
	}},
	{"the umask is 022", func(r *rig) {
		old := syscall.Umask(0o077)
		defer syscall.Umask(old)
		r.wantExit(r.sh("umask; touch file; mkdir dir; stat -c %a file dir"), 0, "0022\n644\n755\n")
	}},
	{"no signal is blocked or ignored", func(r *rig) {
		signal.Ignore(syscall.SIGHUP, syscall.SIGUSR1)
		defer signal.Reset(syscall.SIGHUP, syscall.SIGUSR1)
		r.wantExit(r.task("/bin/sh", "-c", "exec grep -E '^Sig(Blk|Ign)' /proc/self/status"), 0,
			"SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n")
	}},
	{"the command has no terminal, and a session of its own", func(r *rig) {
		r.wantExit(r.sh("(: </dev/tty) 2>/dev/null && echo terminal; set -- $(cat /proc/$$/stat); [ $6 = $$ ] || [ $6 = 1 ] && echo own"), 0, "own\n") // 1: the first process of its namespace
	}},
	{"files keep the rights that the command gives them", func(r *rig) {
		r.run(r.sh("echo x >x; chmod 751 x"))
		if st, err := os.Stat(filepath.Join(r.dir, "x")); err != nil || st.Mode().Perm() != 0o751 {
			r.Errorf("%v %v", st, err)
		}
	}},
}

// wantEnvironment checks what env(1) prints, but for the variables that the
// runner's tools set.
func (r *rig) wantEnvironment(t runners.Task, want string) {
	r.Helper()
	o := r.run(t)
	var got strings.Builder
	for line := range strings.Lines(o.stdout) {
		name, _, _ := strings.Cut(line, "=")
		if !slices.Contains(r.variables, name) {
			got.WriteString(line)
		}
	}
	if o.Code != 0 || got.String() != want {
		r.Errorf("exit code %d, environment %q, want %q", o.Code, got.String(), want)
	}
}
