package actioncache

import (
	"context"
	"errors"
	"testing"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

var _ Blobs = (*cas.Store)(nil)

// The same questions to the real storage as to the one in memory.
func TestOnTheRealStorage(t *testing.T) {
	storage, err := cas.Open(context.Background(), cas.Options{Dir: t.TempDir(), MaxBytes: 64 << 20, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = storage.Close() })
	upload := func(data []byte) {
		t.Helper()
		blob := cas.Blob{Digest: digest.Of(digest.SHA256, data), Data: data}
		if err := errors.Join(storage.PutMany(t.Context(), cas.Upload, []cas.Blob{blob})...); err != nil {
			t.Fatal(err)
		}
	}
	inMemory := newBlobs()
	r, named := everything(inMemory)
	last := named["deep in Tree"]
	for d, data := range inMemory.data {
		if d != last {
			upload(data)
		}
	}
	s := openStore(t, Options{Blobs: storage})
	apply(t, s, put(actionNamed("a"), r))
	if _, err := s.Get(t.Context(), "main", actionNamed("a")); !errors.Is(err, ErrNotFound) {
		t.Errorf("one blob is missing: %v", err)
	}
	upload(inMemory.data[last])
	if _, err := s.Get(t.Context(), "main", actionNamed("a")); err != nil {
		t.Errorf("complete: %v", err)
	}
	if missing, err := s.InputRoot(t.Context(), named["root Directory"]); err != nil || len(missing) > 0 {
		t.Errorf("input root: %v, %v", missing, err)
	}
	gone := digest.Of(digest.SHA256, []byte("gone"))
	if missing, err := s.InputRoot(t.Context(), gone); err != nil || len(missing) != 1 || missing[0] != gone {
		t.Errorf("an unknown input root: %v, %v", missing, err)
	}
}
