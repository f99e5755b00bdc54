package actioncache

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func TestAnswersAreRememberedForABucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blobs := newBlobs()
		r, _ := everything(blobs)
		s := openStore(t, Options{Blobs: blobs})
		apply(t, s, put(actionNamed("a"), r))
		get := func() (asked int) {
			t.Helper()
			blobs.forgetTouches()
			if _, err := s.Get(t.Context(), "main", actionNamed("a")); err != nil {
				t.Error(err)
			}
			return blobs.count()
		}
		time.Sleep(time.Until(time.Now().Truncate(blobs.bucket).Add(blobs.bucket))) // the begin of a bucket
		if get() == 0 {
			t.Error("the first hit looked at nothing")
		}
		time.Sleep(blobs.bucket - time.Second)
		if n := get(); n != 0 {
			t.Errorf("within the bucket %d blobs were looked at", n)
		}
		time.Sleep(time.Second)
		if get() == 0 {
			t.Error("after the bucket nothing was looked at")
		}
		blobs.lose(true)
		if get() == 0 {
			t.Error("after a loss nothing was looked at")
		}
	})
}

// An answer that is built of remembered parts must not outlive them: the blob in
// the shared directory was last protected when the first root was looked at.
func TestAnswersAreNoYoungerThanTheirParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blobs := newBlobs()
		file := blobs.file("shared")
		shared := blobs.message(dir{files: map[string]digest.Digest{"f": file}}.proto())
		first := blobs.message(dir{dirs: map[string]digest.Digest{"first": shared}}.proto())
		second := blobs.message(dir{dirs: map[string]digest.Digest{"second": shared}}.proto())
		s := openStore(t, Options{Blobs: blobs})
		look := func(root digest.Digest) []digest.Digest {
			t.Helper()
			missing, err := s.InputRoot(t.Context(), root)
			if err != nil {
				t.Error(err)
			}
			return missing
		}
		look(first)
		protected := time.Now()
		blobs.forgetTouches()
		for blobs.touched[file] == 0 {
			time.Sleep(blobs.bucket / 7)
			look(second)
			if age := time.Since(protected); blobs.touched[file] == 0 && age > blobs.bucket {
				t.Fatalf("relied on the file %s after its last use, a bucket is %s", age, blobs.bucket)
			}
		}
	})
}

func TestALossEndsWhatIsRemembered(t *testing.T) {
	blobs := newBlobs()
	r, named := everything(blobs)
	s := openStore(t, Options{Blobs: blobs})
	apply(t, s, put(actionNamed("a"), r))
	get := func() error {
		_, err := s.Get(t.Context(), "main", actionNamed("a"))
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	blobs.lose(false, named["deep in Tree"])
	if err := get(); err != nil {
		t.Errorf("nobody was told of the loss, yet: %v", err)
	}
	blobs.lose(true)
	if err := get(); !errors.Is(err, ErrNotFound) {
		t.Errorf("after the loss: %v", err)
	}
}

func TestRepeatedHitsGiveTheSamePointer(t *testing.T) {
	blobs := newBlobs()
	r, _ := everything(blobs)
	s := openStore(t, Options{Blobs: blobs})
	action := actionNamed("a")
	get := func() *repb.ActionResult {
		t.Helper()
		got, err := s.Get(t.Context(), "main", action)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	apply(t, s, put(action, r))
	first := get()
	apply(t, s, put(actionNamed("another"), &repb.ActionResult{}))
	if get() != first {
		t.Error("a second hit gave another pointer")
	}
	blobs.lose(true)
	if get() != first {
		t.Error("a hit in another era gave another pointer")
	}
	apply(t, s, put(action, &repb.ActionResult{ExitCode: 7}))
	if got := get(); got == first || got.GetExitCode() != 7 {
		t.Errorf("after the replacement: %v", got)
	}
}
