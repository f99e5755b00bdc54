package placement

import (
	"context"
	"errors"
	"io"

	bspb "google.golang.org/genproto/googleapis/bytestream"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// remoteReader reads a blob from another member.
type remoteReader struct {
	m      *member
	ctx    context.Context //nolint:containedctx // of the one call that it is
	stream bspb.ByteStream_ReadClient
	end    context.CancelFunc
	rest   []byte
	ended  bool
}

// openReader reads a blob from an offset on. cas.ErrNotFound when the member lacks
// it.
func (m *member) openReader(ctx context.Context, d digest.Digest, offset int64) (*remoteReader, error) {
	conn, err := m.conn()
	if err != nil {
		return nil, m.explain(ctx, err)
	}
	r := &remoteReader{m: m, ctx: ctx}
	ctx, r.end = m.while(ctx)
	r.stream, err = bspb.NewByteStreamClient(conn).Read(ctx, &bspb.ReadRequest{ResourceName: digest.ReadName("", d), ReadOffset: offset})
	if err == nil {
		err = r.next()
	}
	if err != nil {
		r.end()
		return nil, m.explain(r.ctx, err)
	}
	return r, nil
}

// next receives a message.
func (r *remoteReader) next() error {
	reply, err := r.stream.Recv()
	if errors.Is(err, io.EOF) {
		r.ended = true
		return nil
	}
	r.rest = reply.GetData()
	return err
}

// Read implements io.Reader.
func (r *remoteReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.ended {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, r.m.explain(r.ctx, err)
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *remoteReader) Close() error {
	r.end()
	return nil
}
