package shim

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMarksOfTwoOwnersDiffer(t *testing.T) {
	seen := map[unix.Rlimit]string{}
	for i := range 2000 {
		dir := fmt.Sprintf("/var/lib/node-%d", i)
		l := MarkFor(dir).limits(0)
		if other := seen[l]; other != "" {
			t.Fatalf("%s and %s have the same mark", dir, other)
		}
		seen[l] = dir
		for _, number := range []int{0, MaxShims - 1} {
			l := MarkFor(dir).limits(number)
			if l.Cur < softFloor || l.Cur > l.Max || l.Max >= markCeiling {
				t.Fatalf("limits of %s: %+v", dir, l)
			}
		}
	}
}

func TestTheMarkIsReadFromProc(t *testing.T) {
	m := MarkFor("/a")
	l := m.limits(3)
	text := func(l unix.Rlimit) []byte {
		return fmt.Appendf(nil, "Limit   Soft Limit  Hard Limit  Units\nMax pending signals 1 2 signals\n"+
			"Max msgqueue size         %d               %d               bytes     \nMax nice priority 0 0\n", l.Cur, l.Max)
	}
	for name, c := range map[string]struct {
		text []byte
		want bool
	}{
		"its own":       {text(l), true},
		"another shim":  {text(m.limits(4)), false},
		"another owner": {text(MarkFor("/b").limits(3)), false},
		"the kernel's":  {text(unix.Rlimit{Cur: markCeiling, Max: markCeiling}), false},
		"no limit":      {[]byte("Max msgqueue size unlimited unlimited bytes\n"), false},
		"cut":           {[]byte("Max msgqueue size"), false},
		"empty":         {nil, false},
	} {
		if got := limitsIn(c.text, l, l); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if !limitsIn(text(l), m.limits(MaxShims-1), m.limits(0)) {
		t.Error("it is not between those of the owner's first and last shim")
	}
}

func TestParentIsFoundBehindAnyName(t *testing.T) {
	for name, c := range map[string]struct {
		stat string
		want int
	}{
		"plain":        {"12 (sh) S 34 12 12 0", 34},
		"with spaces":  {"12 (a b c) S 34 12", 34},
		"with a trick": {"12 (x) S 99 (y) S 34 12", 34},
		"cut":          {"12 (sh) S", 0},
		"empty":        {"", 0},
	} {
		if got := parentIn([]byte(c.stat)); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestChildrenAreFoundBothWays checks that a kernel without a list of children
// gives the same.
func TestChildrenAreFoundBothWays(t *testing.T) {
	p, err := Start(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for name, pids := range map[string][]int{"listed": children(), "by looking at all": childrenByScan()} {
		if len(pids) != 1 || pids[0] != p.PID() {
			t.Errorf("%s: %v, want only %d", name, pids, p.PID())
		}
	}
}

// TestAnotherShimsProcessesAreLeftAlone kills one of two marked shims.
func TestAnotherShimsProcessesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	if err := unix.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	m := MarkFor(dir)
	kept, err := Start(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	replies := make(chan Reply, 1)
	go func() {
		r, err := kept.Run(ctx, Request{Path: "/bin/sh", Args: []string{"sh", "-c", "echo >ready; exec sleep 1000"}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: dir})
		if err != nil {
			t.Error(err)
		}
		replies <- r
	}()
	f, err := os.Open(ready)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if line, err := bufio.NewReader(f).ReadString('\n'); err != nil || strings.TrimSpace(line) != "" {
		t.Fatal(line, err)
	}
	if n, err := m.KillOne(2); n != 0 || err != nil {
		t.Errorf("killed %d processes of a shim that never was: %v", n, err)
	}
	cancel()
	if r := <-replies; !r.Killed {
		t.Errorf("it was not the context that ended it: %+v", r)
	}
	if err := kept.Close(); err != nil {
		t.Error(err)
	}
}
