package runners_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// heard is what a StreamsFunc was told.
type heard struct {
	lease          *runners.Lease
	stdout, stderr *os.File
	ended          chan [2]digest.Digest
}

func listen(o *runners.WorkerOptions) <-chan heard {
	calls := make(chan heard, 10)
	o.Streams = func(l *runners.Lease, stdout, stderr *os.File) func(stdout, stderr digest.Digest) {
		h := heard{l, stdout, stderr, make(chan [2]digest.Digest, 1)}
		calls <- h
		return func(stdout, stderr digest.Digest) { h.ended <- [2]digest.Digest{stdout, stderr} }
	}
	return calls
}

// toldOf waits for the call about a lease; on a busy machine short commands make
// some, too.
func toldOf(calls <-chan heard, l *runners.Lease) heard {
	for h := range calls {
		if h.lease.ID == l.ID {
			return h
		}
	}
	panic("unreachable")
}

// await reads the file until it has the text.
func await(t *testing.T, f *os.File, text string) {
	t.Helper()
	for range 3000 {
		have, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(have), text) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s never had %q", f.Name(), text)
}

func TestTheOutputOfALongCommandCanBeRead(t *testing.T) {
	var calls <-chan heard
	b := start(t, func(o *runners.WorkerOptions) { o.Slots, calls = 1, listen(o) })
	b.result(sh("echo left over; echo left over >&2"), noInputs) // its place is used again
	gate := filepath.Join(t.TempDir(), "gate")
	l := b.lease(sh("echo first; until test -e "+gate+"; do sleep 0.02; done; echo second; ln -s /x pipe; mkfifo d; echo late >&2", "d"), noInputs)
	b.assign(l)
	h := toldOf(calls, l)
	await(t, h.stdout, "first\n")
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := b.completion()
	ended := <-h.ended
	if ended[0].Hex() != c.Result.StdoutDigest.Hash || ended[1].Hex() != c.Result.StderrDigest.Hash {
		t.Errorf("ended as %v", ended)
	}
	stderr := b.text(c.Result.StderrDigest)
	if b.text(c.Result.StdoutDigest) != "first\nsecond\n" || !strings.HasPrefix(stderr, "late\n") {
		t.Errorf("%q, %q", b.text(c.Result.StdoutDigest), stderr)
	}
	// The next command writes elsewhere.
	b.result(sh("echo someone else's"), noInputs)
	for f, want := range map[*os.File]string{h.stdout: "first\nsecond\n", h.stderr: stderr} {
		if have, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20)); err != nil || string(have) != want {
			t.Errorf("%s has %q, %v", f.Name(), have, err)
		}
		_ = f.Close()
	}
}

func TestAKilledCommandsOutputEndsNowhere(t *testing.T) {
	var calls <-chan heard
	b := start(t, func(o *runners.WorkerOptions) { o.Slots, calls = 1, listen(o) })
	l := b.lease(sh("echo words; sleep 1000"), noInputs)
	b.assign(l)
	h := toldOf(calls, l)
	await(t, h.stdout, "words\n")
	b.session.events <- runners.Event{Cancelled: l.ID}
	b.completion()
	if ended := <-h.ended; ended != [2]digest.Digest{} {
		t.Errorf("ended as %v", ended)
	}
	b.result(sh("echo someone else's"), noInputs)
	await(t, h.stdout, "words\n")
	_, _ = h.stdout.Close(), h.stderr.Close()
}
