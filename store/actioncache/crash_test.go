package actioncache

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

// crashDir tells the test binary that it is the process to be killed.
const crashDir = "ACTIONCACHE_CRASH_DIR"

// largeWrite is what the process writes at an index: memtables fill, and tables
// are written and merged all the time.
func largeWrite(index int) Write {
	return put(actionNamed(fmt.Sprint(index)), &repb.ActionResult{ExitCode: int32(index), StdoutRaw: []byte(strings.Repeat("x", 60<<10))})
}

// TestCrashingProcess is no test of its own: it writes until it is killed, and
// says what is acknowledged.
func TestCrashingProcess(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return
	}
	s := openStore(t, Options{Dir: dir, MaxEntries: 50})
	for {
		index := int(s.AppliedIndex()) + 1
		apply(t, s, largeWrite(index))
		fmt.Println("acknowledged", index)
	}
}

func TestAcknowledgedWritesSurviveSIGKILL(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		acknowledged := killedAfter(t, dir, 150+100*round)
		s := openStore(t, Options{Dir: dir, MaxEntries: 50})
		applied := int(s.AppliedIndex())
		if applied < acknowledged {
			t.Errorf("applied is %d, %d was acknowledged", applied, acknowledged)
		}
		check(t, s)
		for i := applied - 49; i <= applied; i++ {
			if got := exitCode(t, s, fmt.Sprint(i)); got != i {
				t.Errorf("%d is %d", i, got)
			}
		}
		if got := exitCode(t, s, fmt.Sprint(applied-50)); got != -1 {
			t.Errorf("one that went before is there: %d", got)
		}
		must(t, s.Close())
	}
}

// killedAfter runs the process until it has acknowledged n more writes, kills
// it, and returns the last index that it acknowledged.
func killedAfter(t *testing.T, dir string, n int) (last int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashingProcess$", "-test.count=1")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	seen := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d", &last); err != nil {
			t.Errorf("it says %q", lines.Text())
			break
		}
		if seen++; seen == n {
			must(t, cmd.Process.Kill())
		}
	}
	_ = cmd.Wait() // killed
	if seen < n {
		t.Fatalf("it ended by itself after %d writes", seen)
	}
	return last
}
