package runnertest

import (
	"context"
	"time"
)

// daemon starts, from a shell, a process that has left its parent's session and
// group, whose parent is gone, and which holds the pipe "alive". It has said so
// on the pipe "started", which is opened for both directions, since the one who
// writes may be gone already, when the next command starts.
const daemon = `exec 9>alive
(setsid sh -c '(trap "" HUP TERM INT; echo >started; exec sleep 1000) & exit' &)
read line <>started
`

// unruly is what an action may leave behind, by name: each script goes on when it
// is there.
var unruly = map[string]string{
	"a daemon, forked twice":                         daemon,
	"a child in the background":                      "exec 9>alive; sleep 1000 & trap '' TERM",
	"a stopped process":                              "exec 9>alive; sh -c 'kill -STOP $$' & while ! grep -q '^State:.T' /proc/$!/status; do :; done",
	"a child in a session of its own":                "exec 9>alive; setsid -f sleep 1000",
	"processes that fork faster than they are found": "exec 9>alive; (setsid ./storm &) ; read line <>started",
}

const storm = `#!/bin/sh
[ "$1" ] || echo >started
(setsid ./storm again &)
`

func (r *rig) unruly(do func(r *rig, script string, alive *pipe)) {
	r.Helper()
	r.pipe("started")
	alive := r.pipe("alive")
	r.write("storm", storm, 0o755)
	for name, script := range unruly {
		do(r, script+"\n", alive)
		if r.Failed() {
			r.Fatalf("it was: %s", name)
		}
	}
}

var endTests = []test{
	{"nothing that a command started lives on when it ends", func(r *rig) {
		r.unruly(func(r *rig, script string, alive *pipe) {
			r.wantExit(r.sh(script+"echo done; exit 3"), 3, "done\n")
			alive.wantNobody()
		})
	}},
	{"a command's time-out ends it and all that it started, and keeps what it wrote", func(r *rig) {
		r.pipe("started")
		alive := r.pipe("alive")
		t := r.sh(daemon + "echo partial; echo file >file; while :; do sleep 1000; done")
		t.Timeout = 1500 * time.Millisecond
		o := r.run(t)
		if !o.TimedOut || o.Code == 0 || o.stdout != "partial\n" || r.read(r.dir+"/file") != "file\n" {
			r.Errorf("timed out: %t, exit code %d, stdout %q", o.TimedOut, o.Code, o.stdout)
		}
		if took := o.Completed.Sub(o.Started); took < t.Timeout {
			r.Errorf("it was ended after %s", took)
		}
		alive.wantNobody()
	}},
	{"a command that ends in time has not timed out", func(r *rig) {
		t := r.sh("exit 4")
		t.Timeout = time.Hour
		r.wantExit(t, 4, "")
	}},
	{"a cancelled command is gone with all that it started", func(r *rig) {
		ready := r.pipe("ready")
		r.unruly(func(r *rig, script string, alive *pipe) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			done := r.start(ctx, r.sh(script+"echo >ready; trap '' TERM INT HUP; while :; do sleep 1000; done"))
			ready.await()
			cancel()
			r.wantCancelled(<-done)
			alive.wantNobody()
		})
	}},
	{"a runner is of use after a cancelled command", func(r *rig) {
		ready := r.pipe("ready")
		for range 3 {
			ctx, cancel := context.WithCancel(context.Background())
			done := r.start(ctx, r.sh("echo >ready; exec sleep 1000"))
			ready.await()
			cancel()
			r.wantCancelled(<-done)
			r.wantExit(r.sh("echo next"), 0, "next\n")
		}
	}},
	{"what is cancelled before it starts does not run", func(r *rig) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := r.runner.Run(ctx, r.sh("exec sleep 1000"))
		r.wantCancelled(err)
	}},
}
