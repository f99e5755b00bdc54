package shim

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	MaybeRun()
	os.Exit(m.Run())
}

func drawRequest(t *rapid.T) Request {
	text := rapid.StringN(0, 20, 200)
	list := rapid.SliceOfN(text, 0, 10)
	return Request{
		Path: text.Draw(t, "path"), Dir: text.Draw(t, "dir"), Stdout: text.Draw(t, "stdout"), Stderr: text.Draw(t, "stderr"),
		Args: list.Draw(t, "args"), Env: list.Draw(t, "env"), Timeout: time.Duration(rapid.Int64().Draw(t, "timeout")),
	}
}

func TestRequestsAndRepliesSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawRequest(t)
		got, err := decodeRequest(appendRequest(nil, want))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
		reply := Reply{
			Errno: syscall.Errno(rapid.IntRange(0, 200).Draw(t, "errno")), Stage: Stage(rapid.IntRange(0, 2).Draw(t, "stage")),
			Status: syscall.WaitStatus(rapid.Uint32().Draw(t, "status")), TimedOut: rapid.Bool().Draw(t, "timed out"),
			Killed: rapid.Bool().Draw(t, "killed"), Left: rapid.IntRange(0, 1000).Draw(t, "left"),
		}
		for _, f := range reply.fields() {
			*f = rapid.Int64().Draw(t, "number")
		}
		again, err := decodeReply(appendReply(nil, &reply))
		if diff := cmp.Diff(reply, again); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
	})
}

func TestTheLargestReplyFitsTheBufferOfItsReader(t *testing.T) {
	r := Reply{Errno: 1 << 30, Status: 1<<32 - 1, Left: 1 << 62, TimedOut: true, Killed: true}
	for _, f := range r.fields() {
		*f = -1 << 63
	}
	frame := endFrame(appendReply(beginFrame(nil, frameReply, 1), &r))
	if have := len(Process{}.in); len(frame) > have {
		t.Errorf("a reply of %d bytes, a buffer of %d", len(frame), have)
	}
}

// TestFramesAreFoundHoweverTheyAreCut reads frames from a socket that gives them
// in pieces.
func TestFramesAreFoundHoweverTheyAreCut(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	sizes := []int{0, 1, 100, 40 << 10, 300 << 10, 5}
	go func() {
		defer unix.Close(fds[1])
		var all []byte
		for i, n := range sizes {
			all = append(all, endFrame(append(beginFrame(nil, frameRun, uint32(i)), bytes.Repeat([]byte{byte(i)}, n)...))...)
		}
		for piece := 1; len(all) > 0; piece = piece*3 + 1 {
			n, err := unix.Write(fds[1], all[:min(piece, len(all))])
			if err != nil {
				return
			}
			all = all[n:]
		}
	}()
	s := server{conn: fds[0]}
	for i, n := range sizes {
		f, err := s.readFrame()
		if err != nil || int(f.seq) != i || len(f.payload) != n || strings.Trim(string(f.payload), string(rune(i))) != "" {
			t.Fatalf("frame %d: %v, number %d, %d bytes", i, err, f.seq, len(f.payload))
		}
	}
	if _, err := s.readFrame(); err == nil {
		t.Error("a frame came after the last")
	}
}

func TestAFrameOfImpossibleSizeIsRefused(t *testing.T) {
	for _, length := range []uint32{0, 4, maxFrame, 1<<32 - 1} {
		b := make([]byte, 100)
		b[0], b[1], b[2], b[3] = byte(length), byte(length>>8), byte(length>>16), byte(length>>24)
		s := server{in: b}
		if _, ok, err := s.parseFrame(); ok || !errors.Is(err, errFrame) {
			t.Errorf("length %d: %t, %v", length, ok, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(appendRequest(nil, Request{Path: "/bin/sh", Args: []string{"sh", ""}, Env: []string{"A=b"}, Timeout: time.Second}))
	f.Add(appendReply(nil, &Reply{Errno: 2, Left: 3, Started: 4}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeRequest(b); err == nil {
			again, err := decodeRequest(appendRequest(nil, r))
			if diff := cmp.Diff(r, again); err != nil || diff != "" {
				t.Fatalf("%v %s", err, diff)
			}
		}
		if r, err := decodeReply(b); err == nil {
			again, err := decodeReply(appendReply(nil, &r))
			if diff := cmp.Diff(r, again); err != nil || diff != "" {
				t.Fatalf("%v %s", err, diff)
			}
		}
		s := server{in: b}
		for {
			if _, ok, err := s.parseFrame(); !ok || err != nil {
				break
			}
		}
		if s.taken > len(b) {
			t.Fatal("more was taken than there is")
		}
	})
}
