package cas

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// crashDir tells a child where to write until it is killed.
const crashDir = "CAS_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := writeForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func crashOptions(dir string) Options {
	return Options{
		Dir: dir, MaxBytes: MinMaxBytes, ProtectionWindow: 2 * time.Second, ScrubInterval: -1,
		Logger: slog.New(slog.DiscardHandler),
	}
}

func crashBlob(seed uint64) Blob {
	return testBlob(seed, []int{100, 5000, 120 << 10, 2*mib + 300<<10}[seed%4]+int(seed%89))
}

// writeForEver stores blobs and says so, each on a line, once it was told that
// they are safe.
func writeForEver(dir string) error {
	s, err := Open(context.Background(), crashOptions(dir))
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(os.Getenv("CAS_TEST_CRASH_SEED"), 10, 64)
	for ; err == nil; seed++ {
		b := crashBlob(seed)
		if seed%8 < 4 {
			err = s.PutMany(context.Background(), Upload, []Blob{b})[0]
		} else {
			err = stream(context.Background(), s, Upload, b, 100_000)
		}
		if isFull(err) {
			time.Sleep(20 * time.Millisecond)
			err = nil
			continue
		}
		fmt.Println(seed)
	}
	return err
}

// TestSIGKILLLosesNothingAcknowledged kills a process that writes through a small
// cap, so that spills, seals and drops are cut too. What was acknowledged within
// the window is there; what else is there is right.
func TestSIGKILLLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	next := uint64(1)
	var names []digest.Digest
	for round := range 3 {
		acked := runAndKill(t, dir, next, 20+rng.IntN(100))
		s, err := Open(t.Context(), crashOptions(dir))
		if err != nil {
			t.Fatal(err)
		}
		checked := 0
		for seed, at := range acked {
			next = max(next, seed+1)
			b := crashBlob(seed)
			names = append(names, b.Digest)
			data, err := s.Get(t.Context(), b.Digest)
			if errors.Is(err, ErrNotFound) && time.Since(at) > s.Window() {
				continue
			}
			if err != nil || !bytes.Equal(data, b.Data) {
				t.Errorf("round %d: blob %d, acknowledged %s ago: %v", round, seed, time.Since(at), err)
			}
			checked++
		}
		next += 100
		checkConsistent(t, s, names)
		closeStore(t, s)
		if checked == 0 {
			t.Errorf("round %d: nothing was there to check", round)
		}
	}
}

// runAndKill returns which blobs were acknowledged, and when, before the child was
// killed at so many.
func runAndKill(t *testing.T, dir string, seed uint64, lines int) map[uint64]time.Time {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashDir+"="+dir, "CAS_TEST_CRASH_SEED="+strconv.FormatUint(seed, 10))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	acked := make(map[uint64]time.Time)
	for in := bufio.NewScanner(out); in.Scan(); {
		n, err := strconv.ParseUint(in.Text(), 10, 64)
		if err != nil {
			t.Fatalf("the child says %q", in.Text())
		}
		acked[n] = time.Now()
		if lines--; lines == 0 {
			_ = child.Process.Kill()
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() == 1 {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return acked
}

// checkConsistent reads what may be there: present means readable.
func checkConsistent(t *testing.T, s *Store, names []digest.Digest) {
	t.Helper()
	for _, d := range names {
		if ok, err := s.Present(t.Context(), d); err != nil {
			t.Fatal(err)
		} else if !ok {
			continue
		}
		data, err := s.Get(t.Context(), d)
		if err != nil || digest.Of(digest.SHA256, data) != d {
			t.Errorf("%s is present, but: %v", d, err)
		}
	}
	if n := s.Stats().DamagedBlobs; n != 0 {
		t.Errorf("%d blobs are damaged", n)
	}
}
