package sched

import (
	"context"
	"fmt"
	"sync"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// outcome is how an operation ended, decoded once for all who ask.
type outcome struct {
	bytes []byte        // serialised ExecuteResponse, unless blob is set
	blob  digest.Digest // zero unless it is a blob in the CAS

	mu      sync.Mutex
	decoded *repb.ExecuteResponse
}

// response returns the ExecuteResponse; it is shared and must not be changed.
func (o *outcome) response(ctx context.Context, blobs Blobs) (*repb.ExecuteResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.decoded != nil {
		return o.decoded, nil
	}
	data := o.bytes
	if o.blob != (digest.Digest{}) {
		var err error
		if data, err = blobs.Get(ctx, o.blob); err != nil {
			return nil, err
		}
	}
	r := new(repb.ExecuteResponse)
	if err := proto.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("decode response: %w", err)
	}
	o.decoded, o.bytes = r, nil
	return r, nil
}
