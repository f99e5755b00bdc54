package runnertest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
)

var manyTests = []test{
	{"commands that run at once do not disturb each other", func(r *rig) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for round := range 5 {
					t := r.sh(fmt.Sprintf("echo %d.%d; exit %d", i, round, i))
					t.Stdout = filepath.Join(r.out, fmt.Sprint("out", i))
					t.Stderr = filepath.Join(r.out, fmt.Sprint("err", i))
					exit, err := r.runner.Run(context.Background(), t)
					if err != nil || exit.Code != i {
						r.Errorf("command %d: exit code %d, %v", i, exit.Code, err)
						return
					}
					if got, want := r.read(t.Stdout), fmt.Sprintf("%d.%d\n", i, round); got != want {
						r.Errorf("command %d wrote %q, want %q", i, got, want)
					}
				}
			})
		}
		wg.Wait()
	}},
	{"a program can be run at the moment it was written", func(r *rig) {
		// Others fork meanwhile: a child that is not yet at its exec has the file
		// that is being written open, too, and the kernel refuses to execute it.
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.Command("/bin/true").Run()
				}
			}
		})
		for i := range 60 {
			name := fmt.Sprint("tool", i)
			r.copyFile("/bin/true", name)
			if o := r.run(r.task("./" + name)); o.Code != 0 {
				r.Errorf("round %d: exit code %d, stderr %q", i, o.Code, o.stderr)
				break
			}
		}
		close(stop)
		wg.Wait()
	}},
}
