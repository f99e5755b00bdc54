package runnertest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

var exitTests = []test{
	{"the exit code is the command's", func(r *rig) {
		for _, code := range []int{0, 1, 2, 126, 127, 128, 255} {
			r.wantExit(r.sh("exit "+strconv.Itoa(code)), code, "")
		}
	}},
	{"a signal gives 128 and its number", func(r *rig) {
		for name, number := range map[string]int{"TERM": 15, "KILL": 9, "SEGV": 11, "HUP": 1, "PIPE": 13} {
			r.wantExit(r.sh("kill -"+name+" $$"), 128+number, "")
		}
	}},
	{"the usage of the command and its children is counted", func(r *rig) {
		o := r.run(r.sh(`i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; head -c 30000000 /dev/zero | tail -c 30000000 >/dev/null`))
		u := o.Usage
		if u.User+u.System <= 0 || u.MinorFaults <= 0 || u.VoluntarySwitches+u.InvoluntarySwitches <= 0 {
			r.Errorf("usage: %+v", u)
		}
		if u.MaxRSS < 20<<20 { // tail holds what it may have to print
			r.Errorf("the largest process had %d bytes", u.MaxRSS)
		}
		if o.Started.IsZero() || o.Completed.Before(o.Started) {
			r.Errorf("started %s, completed %s", o.Started, o.Completed)
		}
	}},
}

var programTests = []test{
	{"a program that is not there gives 127 and says so", func(r *rig) {
		r.write("noexec", "#!/bin/sh\n", 0o755)
		for _, args := range [][]string{{"no-such-program"}, {"./missing"}, {"/no/such/file"}, {"noexec/below"}} {
			r.wantRefused(args, 127)
		}
	}},
	{"a script whose interpreter is not there gives 127", func(r *rig) {
		r.write("script", "#!/no/such/interpreter\n", 0o755)
		r.wantRefused([]string{"./script"}, 127)
	}},
	{"what is not executable gives 126 and says so", func(r *rig) {
		r.write("data", "data", 0o644)
		r.write("garbage", "\x7fELF\x00\x01\x02garbage", 0o755)
		if err := os.Mkdir(filepath.Join(r.dir, "dir"), 0o755); err != nil {
			r.Fatal(err)
		}
		for _, args := range [][]string{{"./data"}, {"./dir"}, {"./garbage"}} {
			r.wantRefused(args, 126)
		}
	}},
	{"a name is looked up in the command's PATH only", func(r *rig) {
		r.write("tools/tool", "#!/bin/sh\necho found \"$0\"\n", 0o755)
		t := r.task("tool")
		t.Env = []string{"PATH=/nowhere:tools:/usr/bin:/bin"}
		if o := r.run(t); o.Code != 0 || !strings.HasPrefix(o.stdout, "found ") {
			r.Errorf("exit code %d, stdout %q, stderr %q", o.Code, o.stdout, o.stderr)
		}
		t.Env = []string{"PATH=/nowhere"}
		if o := r.run(t); o.Code != 127 {
			r.Errorf("without its directory in PATH: exit code %d", o.Code)
		}
	}},
	{"without PATH the usual directories are searched, and PATH stays unset", func(r *rig) {
		t := r.task("sh", "-c", "[ -r /proc/self/environ ] && ! /bin/grep -qz ^PATH= /proc/self/environ && echo unset")
		t.Env = nil
		r.wantExit(t, 0, "unset\n")
	}},
	{"a relative program is looked up from the working directory", func(r *rig) {
		r.write("sub/tool", "#!/bin/sh\necho sub\n", 0o755)
		t := r.task("./tool")
		t.WorkingDir = "sub"
		r.wantExit(t, 0, "sub\n")
	}},
	{"a script without a first line is run by the shell", func(r *rig) {
		r.write("script", "echo plain \"$1\"\n", 0o755)
		r.wantExit(r.task("./script", "arg"), 0, "plain arg\n")
	}},
}

func (r *rig) wantRefused(args []string, code int) {
	r.Helper()
	o := r.run(r.task(args...))
	if o.Code != code || o.stdout != "" || !strings.Contains(o.stderr, filepath.Base(args[0])) || strings.Count(o.stderr, "\n") != 1 {
		r.Errorf("%q: exit code %d, want %d; stderr %q, want one line that names it", args, o.Code, code, o.stderr)
	}
}
