package reapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// write serves ByteStream.Write (google.bytestream, REAPI). A blob that is there,
// from the beginning or because somebody else completes it first, ends the call
// at once with committed_size its size. An upload that breaks off can go on where
// QueryWriteStatus says, or anew at offset 0, under the same name; the newest call
// for a name has it, an older one gets ABORTED. A stream that ends without
// finish_write is answered with what is kept, unless all of the blob is there. What
// is not the blob that the name says is INVALID_ARGUMENT, and dropped.
func (s *byteStream) write(stream grpc.ServerStream) error {
	w := &blobUpload{s: s, ctx: stream.Context(), stream: stream}
	defer w.close()
	committed, err := w.run()
	if err != nil {
		return statusOf(err)
	}
	return stream.SendMsg(&bspb.WriteResponse{CommittedSize: committed})
}

// blobUpload is one Write call.
type blobUpload struct {
	s      *byteStream
	ctx    context.Context //nolint:containedctx // of the one call that it is
	stream grpc.ServerStream
	name   string
	digest digest.Digest
	id     string
	writer cas.BlobWriter
	chunk  writeChunk
	at     int64 // offset of the next byte
	held   int64 // of the service's memory
}

func (w *blobUpload) close() {
	w.chunk.free()
	if w.writer != nil {
		_ = w.writer.Close()
	}
	w.s.memory.Release(w.held)
}

// run returns how many bytes are committed in the end.
func (w *blobUpload) run() (int64, error) {
	if err := w.receive(); errors.Is(err, io.EOF) {
		return 0, invalidField("resource_name", "is not set: the stream has no message")
	} else if err != nil {
		return 0, err
	}
	if w.s.isLog(w.chunk.name) {
		return w.appendLog()
	}
	if err := w.start(); err != nil {
		return 0, err
	}
	if present, err := w.s.store.Present(w.ctx, w.digest); err != nil || present {
		return w.digest.Size, err
	}
	if w.chunk.finish && w.chunk.offset == 0 && w.digest.Size <= smallBlob && int64(w.chunk.size) == w.digest.Size {
		return w.digest.Size, w.atOnce()
	}
	if err := w.open(); err != nil {
		return 0, err
	}
	return w.stored()
}

// receive reads the next message; io.EOF at the end.
func (w *blobUpload) receive() error { return w.stream.RecvMsg(&w.chunk) }

// start checks what the first message says of the blob.
func (w *blobUpload) start() error {
	w.name = w.chunk.name
	r, err := w.s.resourceOf(w.name, digest.ParseUpload)
	if err != nil {
		return err
	}
	w.digest, w.id = r.Digest, r.UploadID
	if w.digest.Size > w.s.maxBlob {
		return invalidField("resource_name", fmt.Sprintf("a blob of %d bytes: at most %d are taken", w.digest.Size, w.s.maxBlob))
	}
	if w.chunk.offset < 0 || w.chunk.offset > w.digest.Size {
		return invalidField("write_offset", fmt.Sprintf("%d is not within the blob's %d bytes", w.chunk.offset, w.digest.Size))
	}
	return nil
}

// atOnce stores a blob that came in one message.
func (w *blobUpload) atOnce() error {
	if err := w.nothingMore(); err != nil {
		return err
	}
	blob := cas.Blob{Digest: w.digest}
	if len(w.chunk.data) == 1 {
		blob.Data = w.chunk.data[0]
	} else {
		blob.Data = bytes.Join(w.chunk.data, nil)
	}
	return w.s.store.PutMany(w.ctx, w.s.classOf.of(w.ctx), []cas.Blob{blob})[0]
}

// open begins the upload, or takes up one that broke off.
func (w *blobUpload) open() error {
	held := min(w.digest.Size, smallBlob)
	if err := w.s.memory.Acquire(w.ctx, held); err != nil {
		return err
	}
	w.held = held
	if err := w.resume(); err != nil {
		return err
	}
	if w.chunk.offset == 0 && w.writer.Offset() != 0 {
		w.writer.Abort()
		_ = w.writer.Close()
		if err := w.resume(); err != nil {
			return err
		}
	}
	if w.at = w.writer.Offset(); w.chunk.offset != w.at {
		return w.wrongOffset()
	}
	return nil
}

func (w *blobUpload) resume() (err error) {
	w.writer, err = w.s.store.OpenWriter(w.ctx, w.s.classOf.of(w.ctx), w.digest, w.id)
	return err
}

func (w *blobUpload) wrongOffset() error {
	return invalidField("write_offset", fmt.Sprintf("is %d, but %d bytes of the blob are here (QueryWriteStatus tells)", w.chunk.offset, w.at))
}

// lookEvery is after how many bytes an upload looks whether somebody else has
// completed the blob.
const lookEvery = 16 << 20

// stored takes the first message and all that follow.
func (w *blobUpload) stored() (int64, error) {
	for look := w.at + lookEvery; ; {
		if err := w.take(); err != nil {
			return 0, err
		}
		if w.chunk.finish {
			if err := w.nothingMore(); err != nil {
				w.writer.Abort()
				return 0, err
			}
			return w.at, w.commit()
		}
		if w.at >= look {
			look = w.at + lookEvery
			if present, err := w.s.store.Present(w.ctx, w.digest); err == nil && present {
				w.writer.Abort()
				return w.digest.Size, nil
			}
		}
		err := w.receive()
		if errors.Is(err, io.EOF) && w.at == w.digest.Size {
			return w.at, w.commit()
		}
		if errors.Is(err, io.EOF) {
			return w.at, nil
		}
		if err != nil {
			return 0, err
		}
		if err := w.follows(); err != nil {
			return 0, err
		}
	}
}

// follows checks that a message goes on where the one before ended.
func (w *blobUpload) follows() error {
	if w.chunk.name != "" && w.chunk.name != w.name {
		return invalidField("resource_name", "differs from that of the first message")
	}
	if w.chunk.offset != w.at {
		return w.wrongOffset()
	}
	return nil
}

// take stores the data of a message.
func (w *blobUpload) take() error {
	if left := w.digest.Size - w.at; int64(w.chunk.size) > left {
		w.writer.Abort()
		return invalidField("data", fmt.Sprintf("the blob has %d bytes, and here is byte %d", w.digest.Size, w.at+int64(w.chunk.size)))
	}
	for _, part := range w.chunk.data {
		if _, err := w.writer.Write(part); err != nil {
			return err
		}
	}
	w.at += int64(w.chunk.size)
	return nil
}

// commit makes the blob present.
func (w *blobUpload) commit() error {
	if w.at != w.digest.Size {
		w.writer.Abort()
		return invalidField("finish_write", fmt.Sprintf("is set after %d of the blob's %d bytes", w.at, w.digest.Size))
	}
	err := w.writer.Commit()
	if errors.Is(err, cas.ErrMismatch) {
		return status.Error(codes.InvalidArgument, cas.ErrMismatch.Error())
	}
	return err
}

// endGrace is how long a call waits for the client to end its half of the stream
// after finish_write. Clients do so at once; one that waits for the answer first
// gets it then.
const endGrace = 250 * time.Millisecond

// nothingMore makes sure that no message follows finish_write.
func (w *blobUpload) nothingMore() error {
	ended := make(chan error, 1)
	go func() {
		var more writeChunk
		err := w.stream.RecvMsg(&more)
		more.free()
		ended <- err
	}()
	timer := time.NewTimer(endGrace)
	defer timer.Stop()
	select {
	case err := <-ended:
		if err == nil {
			return invalidField("finish_write", "was set before: no message may follow")
		}
	case <-timer.C:
	}
	return nil
}
