package placement

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	bspb "google.golang.org/genproto/googleapis/bytestream"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// sendBytes is what one message of a stream to a member carries: with it a
// stream holds twice that in memory.
const sendBytes = 512 << 10

// remoteWriter is an upload to another member, as a cas.BlobWriter. What it takes is
// known to be stored only when Commit says so.
type remoteWriter struct {
	m      *member
	ctx    context.Context //nolint:containedctx // of the one call that it is
	digest digest.Digest
	class  cas.Class
	name   string
	named  bool                        // it can be resumed
	stream bspb.ByteStream_WriteClient // nil: not begun
	life   context.Context             //nolint:containedctx // of the stream
	end    context.CancelFunc
	buffer []byte // not sent yet
	at     int64  // bytes taken, with those in buffer
	over   bool   // nothing more is sent
	done   bool   // the member has the blob
}

// openWriter begins an upload to the member, or goes on with that of the same id.
func (m *member) openWriter(ctx context.Context, class cas.Class, d digest.Digest, id string) (*remoteWriter, error) {
	w := &remoteWriter{m: m, ctx: ctx, digest: d, class: class}
	if id == "" {
		w.name = digest.UploadName("", uuid.NewString(), d)
		return w, nil
	}
	w.name, w.named = digest.UploadName("", id, d), true
	offset, complete, err := m.uploadStatus(ctx, d, id)
	if err != nil {
		return nil, err
	}
	w.at, w.done, w.over = offset, complete, complete
	return w, nil
}

// uploadStatus tells how far an upload to the member came.
func (m *member) uploadStatus(ctx context.Context, d digest.Digest, id string) (offset int64, complete bool, err error) {
	during, end := m.while(ctx)
	defer end()
	conn, err := m.conn()
	if err != nil {
		return 0, false, m.explain(ctx, err)
	}
	reply, err := bspb.NewByteStreamClient(conn).QueryWriteStatus(during,
		&bspb.QueryWriteStatusRequest{ResourceName: digest.UploadName("", id, d)})
	if err != nil {
		return 0, false, m.explain(ctx, err)
	}
	return min(max(reply.GetCommittedSize(), 0), d.Size), reply.GetComplete(), nil
}

// begin opens the stream. It does not end with the call that it belongs to: what
// was sent is stored when that breaks off, to be resumed.
func (w *remoteWriter) begin() error {
	conn, err := w.m.conn()
	if err != nil {
		return err
	}
	w.life, w.end = w.m.while(context.WithoutCancel(w.ctx))
	stream, err := bspb.NewByteStreamClient(conn).Write(outgoing(w.life, w.class))
	if err != nil {
		w.end()
		return err
	}
	w.stream = stream
	return nil
}

// Offset implements cas.BlobWriter.
func (w *remoteWriter) Offset() int64 { return w.at }

// Write implements cas.BlobWriter.
func (w *remoteWriter) Write(p []byte) (n int, err error) {
	if int64(len(p)) > w.digest.Size-w.at {
		return 0, cas.ErrMismatch
	}
	for n < len(p) {
		switch {
		case w.done: // the rest is not needed
			w.at += int64(len(p) - n)
			return len(p), nil
		case w.over:
			return n, cas.ErrClosed
		case w.buffer == nil:
			w.buffer = make([]byte, 0, min(sendBytes, w.digest.Size-w.at))
		}
		k := min(len(p)-n, cap(w.buffer)-len(w.buffer))
		w.buffer = append(w.buffer, p[n:n+k]...)
		n, w.at = n+k, w.at+int64(k)
		if len(w.buffer) == cap(w.buffer) && w.at < w.digest.Size { // the last message is Commit's
			if err := w.flush(false); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// flush sends what is in the buffer. When the member has ended the stream by
// itself, its answer is the error, or nil when it has the blob.
func (w *remoteWriter) flush(last bool) error {
	if w.over || len(w.buffer) == 0 && !last {
		return nil
	}
	req := &bspb.WriteRequest{WriteOffset: w.at - int64(len(w.buffer)), Data: w.buffer, FinishWrite: last}
	if w.stream == nil {
		req.ResourceName = w.name
		if err := w.begin(); err != nil {
			return w.fail(err)
		}
	}
	defer context.AfterFunc(w.ctx, w.end)()
	err := w.stream.Send(req)
	w.buffer = w.buffer[:0] // grpc-go has made a message of it
	if errors.Is(err, io.EOF) {
		return w.answer()
	}
	if err != nil {
		return w.fail(err)
	}
	return nil
}

// answer waits for the end of the stream.
func (w *remoteWriter) answer() error {
	reply := new(bspb.WriteResponse)
	err := w.stream.RecvMsg(reply)
	if err != nil {
		return w.fail(err)
	}
	w.over = true
	if w.done = reply.GetCommittedSize() == w.digest.Size; !w.done {
		return fmt.Errorf("%w: member %s kept %d of %d bytes", cas.ErrUnavailable, w.m.id, reply.GetCommittedSize(), w.digest.Size)
	}
	return nil
}

func (w *remoteWriter) fail(err error) error {
	w.over = true
	return w.m.explain(w.ctx, err)
}

// Commit implements cas.BlobWriter.
func (w *remoteWriter) Commit() error {
	if w.done {
		return nil
	}
	if w.at != w.digest.Size {
		return cas.ErrMismatch
	}
	if err := w.flush(true); err != nil || w.done {
		return err
	}
	if w.over {
		return cas.ErrClosed
	}
	defer context.AfterFunc(w.ctx, w.end)()
	if err := w.stream.CloseSend(); err != nil {
		return w.fail(err)
	}
	return w.answer()
}

// Abort implements cas.BlobWriter: an upload of the same name that begins at 0
// drops what there was.
func (w *remoteWriter) Abort() {
	if w.stream != nil {
		w.end()
	}
	nothing := w.stream == nil && w.at == int64(len(w.buffer))
	w.buffer, w.over = w.buffer[:0], true
	if w.done || nothing {
		return
	}
	life, end := w.m.while(context.WithoutCancel(w.ctx))
	defer end()
	life, cancel := context.WithTimeout(life, closeTime)
	defer cancel()
	conn, err := w.m.conn()
	if err != nil {
		return
	}
	stream, err := bspb.NewByteStreamClient(conn).Write(life)
	if err != nil {
		return
	}
	_ = stream.Send(&bspb.WriteRequest{ResourceName: w.name})
	_, _ = stream.CloseAndRecv()
}

// closeTime is how long the end of an upload that broke off waits for the member
// to store what is on its way.
const closeTime = 2 * time.Second

// Close implements cas.BlobWriter. What was taken is stored, as far as it came.
func (w *remoteWriter) Close() error {
	if !w.over && !w.named {
		w.Abort()
	}
	if !w.over {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), closeTime)
		defer cancel()
		w.ctx = ctx
		if w.flush(false) == nil && !w.over && w.stream != nil && w.stream.CloseSend() == nil {
			stop := context.AfterFunc(ctx, w.end)
			_ = w.stream.RecvMsg(new(bspb.WriteResponse))
			stop()
		}
	}
	if w.stream != nil {
		w.end()
	}
	w.over = true
	return nil
}
