package runnertest

import (
	"context"
	"os"
	"strings"
)

var streamTests = []test{
	{"stdout and stderr are kept apart, byte by byte", func(r *rig) {
		o := r.run(r.sh(`printf 'out\000\377'; printf 'err\n' >&2; printf more`))
		if o.stdout != "out\x00\xffmore" || o.stderr != "err\n" {
			r.Errorf("stdout %q, stderr %q", o.stdout, o.stderr)
		}
	}},
	{"large output arrives in full", func(r *rig) {
		const size = 9 << 20
		o := r.run(r.sh("head -c 9437184 /dev/zero; head -c 9437184 /dev/zero >&2"))
		if o.Code != 0 || len(o.stdout) != size || len(o.stderr) != size || strings.Trim(o.stdout, "\x00") != "" {
			r.Errorf("exit code %d, %d and %d bytes", o.Code, len(o.stdout), len(o.stderr))
		}
	}},
	{"what an earlier command wrote is gone", func(r *rig) {
		t := r.sh("echo short")
		for _, path := range []string{t.Stdout, t.Stderr} {
			if err := os.WriteFile(path, []byte(strings.Repeat("old", 1000)), 0o644); err != nil {
				r.Fatal(err)
			}
		}
		if o := r.run(t); o.stdout != "short\n" || o.stderr != "" {
			r.Errorf("stdout %q, stderr %q", o.stdout, o.stderr)
		}
		for _, refused := range []string{"./none", "no-such-program"} {
			o := r.run(r.task(refused))
			if o.stdout != "" || strings.Contains(o.stderr, "old") {
				r.Errorf("%s: stdout %q, stderr %q", refused, o.stdout, o.stderr)
			}
		}
	}},
	{"output can be read while the command runs", func(r *rig) {
		ready := r.pipe("ready")
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		t := r.sh("echo first; echo second >&2; echo >ready; exec sleep 1000")
		done := r.start(ctx, t)
		ready.await()
		if out, err := r.read(t.Stdout), r.read(t.Stderr); out != "first\n" || err != "second\n" {
			r.Errorf("stdout %q, stderr %q", out, err)
		}
		cancel()
		r.wantCancelled(<-done)
	}},
	{"a link in the place of stdout is not followed", func(r *rig) {
		t := r.sh("echo overwritten")
		r.write("victim", "precious", 0o644)
		if err := os.Symlink(r.dir+"/victim", t.Stdout); err != nil {
			r.Fatal(err)
		}
		if exit, err := r.runner.Run(context.Background(), t); err == nil {
			r.Errorf("it ran: %+v", exit)
		}
		if got := r.read(r.dir + "/victim"); got != "precious" {
			r.Errorf("the link's target is now %q", got)
		}
	}},
}
