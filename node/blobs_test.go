package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// An action whose outputs find no room is not executed again: it would find none.
func TestOutputsThatFindNoRoomEndTheAction(t *testing.T) {
	store, err := cas.Open(t.Context(), cas.Options{Dir: t.TempDir(), MaxBytes: 64 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	b := blobs{store}
	data := make([]byte, 1<<20)
	fill := func(i int) error {
		data = bytes.Clone(data)
		binary.BigEndian.PutUint64(data, uint64(i))
		return b.PutMany(t.Context(), []runners.Blob{{Digest: digest.Of(digest.SHA256, data), Data: data}})
	}
	for i := 0; err == nil && i < 100; i++ {
		err = fill(i)
	}
	large := append(data, 1)
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(large)), nil }
	for what, err := range map[string]error{
		"a small blob": err,
		"a large one":  b.Upload(t.Context(), digest.Of(digest.SHA256, large), open),
	} {
		var failure *runners.Failure
		if !errors.As(err, &failure) || failure.Code != code.Code_RESOURCE_EXHAUSTED {
			t.Errorf("%s: %v, want a failure RESOURCE_EXHAUSTED", what, err)
		}
	}
}
