package logstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func growing(t *testing.T) (w, r *os.File) {
	t.Helper()
	w, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	if r, err = os.Open(w.Name()); err != nil {
		t.Fatal(err)
	}
	return w, r
}

func say(t *testing.T, f *os.File, text string) {
	t.Helper()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, h *Hub, name string, offset int64) *Reader {
	t.Helper()
	r, err := h.Open(name, offset)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// next waits for what is there and reads it.
func next(t *testing.T, r *Reader) string {
	t.Helper()
	n, err := r.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, n)
	if _, err := r.Read(p); err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func TestAFileIsFollowedFromAnyOffsetToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{})
		w, f := growing(t)
		s, err := h.Follow("main", f)
		if err != nil {
			t.Fatal(err)
		}
		say(t, w, "one\n")
		first, later, beyond := open(t, h, s.Name(), 0), open(t, h, s.Name(), 2), open(t, h, s.Name(), 6)
		if a, b := next(t, first), next(t, later); a != "one\n" || b != "e\n" {
			t.Errorf("%q and %q", a, b)
		}
		go func() {
			time.Sleep(time.Hour)
			say(t, w, "two\n")
			time.Sleep(time.Second)
			s.End(digest.Digest{})
		}()
		if a, b := next(t, first), next(t, beyond); a != "two\n" || b != "o\n" {
			t.Errorf("%q and %q", a, b)
		}
		if _, err := first.Wait(t.Context()); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
		if _, err := open(t, h, s.Name(), 9).Wait(t.Context()); !errors.Is(err, ErrRange) {
			t.Errorf("beyond the end: %v", err)
		}
	})
}

func TestAnEndedStreamIsKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Keep: time.Minute, MaxBytes: 100})
		w, f := growing(t)
		s, _ := h.Follow("main", f)
		say(t, w, "words")
		s.End(digest.Digest{})
		time.Sleep(59 * time.Second)
		late := open(t, h, s.Name(), 0)
		time.Sleep(2 * time.Second)
		if _, err := h.Open(s.Name(), 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("after its time: %v", err)
		}
		if got := next(t, late); got != "words" { // who reads already goes on
			t.Errorf("%q", got)
		}

		w, f = growing(t)
		s, _ = h.Follow("main", f)
		say(t, w, strings.Repeat("x", 101))
		s.End(digest.Digest{})
		if _, err := h.Open(s.Name(), 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("a large one that is stored nowhere: %v", err)
		}
	})
}

func TestAStoredStreamGoesOnAsABlobAndItsFileIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{})
		w, f := growing(t)
		s, _ := h.Follow("main", f)
		say(t, w, "words")
		r := open(t, h, s.Name(), 3)
		blob := digest.Of(digest.SHA256, []byte("words and notes"))
		s.End(blob)
		_, err := r.Wait(t.Context())
		if moved := (*Moved)(nil); !errors.As(err, &moved) || moved.Blob != blob || r.Offset() != 3 {
			t.Errorf("%v at %d", err, r.Offset())
		}
		if _, err := f.Stat(); err != nil {
			t.Errorf("closed under a reader: %v", err)
		}
		r.Close()
		r.s.refs++ // for the test's own Close
		h.readers++
		if _, err := f.Stat(); err == nil {
			t.Error("the file is still open")
		}
		if n, ended, err := h.Status(s.Name()); n != blob.Size || !ended || err != nil {
			t.Errorf("status: %d, %t, %v", n, ended, err)
		}
	})
}

func TestAWrittenStreamIsReadWhileItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Dir: t.TempDir()})
		name, secret, err := h.Create("main/x")
		if err != nil || !strings.HasPrefix(name, "main/x/logstreams/") || !strings.HasPrefix(secret, name+"/") {
			t.Fatalf("%q, %q, %v", name, secret, err)
		}
		r := open(t, h, name, 0)
		go func() {
			time.Sleep(time.Minute)
			if n, err := h.Append(secret, 0, [][]byte{[]byte("a"), []byte("bc")}, false); n != 3 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			time.Sleep(time.Minute)
			if n, err := h.Append(secret, 3, [][]byte{[]byte("d")}, true); n != 4 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}()
		if a, b := next(t, r), next(t, r); a != "abc" || b != "d" {
			t.Errorf("%q, %q", a, b)
		}
		if _, err := r.Wait(t.Context()); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
		if left, _ := filepath.Glob(filepath.Join(h.o.Dir, "*")); len(left) > 0 {
			t.Errorf("files with names: %v", left)
		}
	})
}

func TestOnlyTheEndOfAnOpenStreamIsWritten(t *testing.T) {
	h := New(Options{Dir: t.TempDir(), MaxBytes: 10, MaxTotal: 15})
	name, secret, _ := h.Create("main")
	_, other, _ := h.Create("main")
	ten := [][]byte{bytes.Repeat([]byte("x"), 10)}
	for _, c := range []struct {
		what   string
		name   string
		offset int64
		data   [][]byte
		finish bool
		want   error
	}{
		{"by the read name", name, 0, nil, false, ErrReadName},
		{"by a wrong secret", name + "/x", 0, nil, false, ErrNotFound},
		{"an unknown one", "main/logstreams/x/y", 0, nil, false, ErrNotFound},
		{"beyond its end", secret, 1, nil, false, &OffsetError{1, 0}},
		{"well", secret, 0, ten, false, nil},
		{"over what is there", secret, 0, nil, false, &OffsetError{0, 10}},
		{"too much", secret, 10, [][]byte{{1}}, false, ErrFull},
		{"too much together", other, 0, ten, false, ErrFull},
		{"to its end", secret, 10, nil, true, nil},
		{"to its end once more", secret, 10, nil, true, nil},
		{"after its end", secret, 10, [][]byte{{1}}, true, ErrFinished},
	} {
		_, err := h.Append(c.name, c.offset, c.data, c.finish)
		if wrong := (*OffsetError)(nil); errors.As(c.want, &wrong) {
			if have := (*OffsetError)(nil); !errors.As(err, &have) || *have != *wrong {
				t.Errorf("%s: %v", c.what, err)
			}
		} else if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if _, err := h.Open(secret, 0); !errors.Is(err, ErrWriteName) {
		t.Errorf("read by the write name: %v", err)
	}
	if err := h.Close(); err != nil || h.total != 0 {
		t.Errorf("%v, %d bytes are still counted", err, h.total)
	}
}

func TestAStreamThatNobodyFinishesIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Dir: t.TempDir(), Idle: time.Hour})
		name, secret, _ := h.Create("main")
		r := open(t, h, name, 0)
		time.Sleep(59 * time.Minute)
		if _, err := h.Append(secret, 0, [][]byte{[]byte("a")}, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute)
		if got := next(t, r); got != "a" {
			t.Errorf("%q", got)
		}
		if _, err := r.Wait(t.Context()); err != io.EOF { // an hour without a word
			t.Errorf("%v", err)
		}
		if _, err := h.Append(secret, 1, nil, true); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func TestStreamsAndReadersAreBounded(t *testing.T) {
	h := New(Options{Dir: t.TempDir(), MaxStreams: 2, MaxReaders: 1})
	first, secret, _ := h.Create("main")
	second, _, _ := h.Create("main")
	if _, _, err := h.Create("main"); !errors.Is(err, ErrFull) {
		t.Errorf("a third: %v", err)
	}
	_, f := growing(t)
	if _, err := h.Follow("main", f); !errors.Is(err, ErrFull) {
		t.Errorf("a third: %v", err)
	}
	if _, err := f.Stat(); err == nil {
		t.Error("a refused file is left open")
	}
	if _, err := h.Append(secret, 0, nil, true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Create("main"); err != nil { // the ended one makes room
		t.Error(err)
	}
	if _, err := h.Open(first, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("the ended one: %v", err)
	}
	r := open(t, h, second, 0)
	if _, err := h.Open(second, 0); !errors.Is(err, ErrFull) {
		t.Errorf("a second reader: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a reader that went away: %v", err)
	}
}

func TestNamesOfStreamsAreToldFromOthers(t *testing.T) {
	for name, want := range map[string]bool{
		"logstreams/a": true, "main/logstreams/a": true, "main/b/logstreams/a/c": true, "main/logstreams/blobs": true,
		"main/blobs/x/1": false, "main/uploads/u/blobs/x/1/logstreams/a": false, "logstreamsx/a": false, "": false,
	} {
		if IsName(name) != want {
			t.Errorf("IsName(%q) is not %t", name, want)
		}
	}
	for _, parent := range []string{"main/blobs", "a//b", "/a", "logstreams", strings.Repeat("x", 600)} {
		if _, _, err := New(Options{}).Create(parent); !errors.Is(err, ErrName) {
			t.Errorf("parent %.20q: %v", parent, err)
		}
	}
}

func FuzzName(f *testing.F) {
	f.Add("main/logstreams/a/b")
	f.Add("logstreams/a")
	f.Add("a/logstreams//")
	f.Fuzz(func(t *testing.T, name string) {
		parent, id, token, err := parse(name)
		if err != nil {
			return
		}
		again := nameOf(parent, id)
		if token != "" {
			again += "/" + token
		}
		if again != name && "/"+again != name { // a leading slash is no parent
			t.Errorf("%q is parsed as %q", name, again)
		}
	})
}

func TestNamesTellTheNodeOfTheirHub(t *testing.T) {
	for _, node := range []string{"", "node-1"} {
		h := New(Options{Dir: t.TempDir(), Node: node})
		defer h.Close()
		name, writeName, err := h.Create("main/sub")
		if err != nil || NodeOf(name) != node || NodeOf(writeName) != node {
			t.Errorf("%q: %s is of %q, %s of %q; %v", node, name, NodeOf(name), writeName, NodeOf(writeName), err)
		}
		if _, _, err := h.Status(writeName); err != nil {
			t.Errorf("%q: %v", node, err)
		}
	}
	for _, name := range []string{"", "~", "main/blobs/a~b/1", "logstreams/"} {
		if got := NodeOf(name); got != "" {
			t.Errorf("%q is of %q", name, got)
		}
	}
}
