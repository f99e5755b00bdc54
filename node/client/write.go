package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// chunk is how many bytes one ByteStream message carries.
const chunk = 512 << 10

// write uploads one blob by ByteStream (REAPI, ContentAddressableStorage). A
// stream that breaks goes on from where the server says it has got to.
func (c *Client) write(ctx context.Context, s Source, p *Progress) error {
	content, err := s.open()
	if err != nil {
		return fmt.Errorf("upload %s: %w", s.name(), err)
	}
	defer content.Close() //nolint:errcheck // read only
	w := &upload{c: c, size: s.Digest.Size, digest: s.Digest, content: content, progress: p}
	w.restart()
	b := c.backoff()
	for {
		err := w.attempt(ctx)
		switch {
		case err == nil:
			p.moved(s.Digest.Size - w.counted)
			return nil
		case errors.Is(err, errLocal):
			return fmt.Errorf("upload %s: %w", s.name(), err)
		case status.Code(err) == codes.InvalidArgument && s.changed():
			return fmt.Errorf("upload %s: %w", s.name(), ErrChanged)
		}
		if w.at > w.reached {
			w.reached = w.at
			b.progress()
		}
		if err := b.wait(ctx, err); err != nil {
			return c.explain("upload "+s.name(), err)
		}
	}
}

// upload is one blob on its way up.
type upload struct {
	c        *Client
	name     string
	digest   digest.Digest
	size     int64
	content  io.ReadSeeker
	broke    bool  // an attempt broke off: ask how far it got
	at       int64 // where the next attempt begins, in bytes
	reached  int64 // the furthest at so far
	counted  int64 // bytes already told to progress
	progress *Progress
}

// restart begins a new upload, of which the server has nothing.
func (w *upload) restart() {
	w.name, w.at = digest.UploadName(w.c.instance, uuid.NewString(), w.digest), 0
}

// resume asks how much the server has, and whether that is all. A server that
// cannot say, or has forgotten, gets all of it under a new name.
func (w *upload) resume(ctx context.Context) (complete bool, err error) {
	reply, err := w.c.bytes.QueryWriteStatus(ctx, &bytestream.QueryWriteStatusRequest{ResourceName: w.name})
	switch {
	case err != nil && isAway(err):
		return false, err
	case err != nil || reply.CommittedSize < 0 || reply.CommittedSize > w.size:
		w.restart()
	case reply.Complete && reply.CommittedSize == w.size:
		return true, nil
	default:
		w.at = reply.CommittedSize
	}
	w.broke = false
	return false, nil
}

// errLocal is wrapped by errors of the content, which no other attempt mends.
var errLocal = errors.New("read")

// attempt streams from w.at to the end. A server may end the stream at any time:
// with the full size when it has the blob already.
func (w *upload) attempt(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if w.broke {
		if complete, err := w.resume(ctx); complete || err != nil {
			return err
		}
	}
	w.broke = true
	if _, err := w.content.Seek(w.at, io.SeekStart); err != nil {
		return fmt.Errorf("%w: %w", errLocal, err)
	}
	stream, err := w.c.bytes.Write(ctx)
	if err != nil {
		return err
	}
	if err := w.send(stream); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	reply, err := stream.CloseAndRecv()
	w.c.heard(err)
	if err != nil {
		return err
	}
	if reply.CommittedSize != w.size {
		return status.Errorf(codes.Unavailable, "the server took %d of %d bytes", reply.CommittedSize, w.size)
	}
	return nil
}

// send writes the messages of one attempt; io.EOF means that the server has ended
// the stream and says why in its reply.
func (w *upload) send(stream bytestream.ByteStream_WriteClient) error {
	name, at := w.name, w.at
	for {
		// A new buffer each time: grpc-go may still hold the last one.
		data := make([]byte, min(chunk, w.size-at))
		if _, err := io.ReadFull(w.content, data); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = ErrChanged
			}
			return fmt.Errorf("%w: %w", errLocal, err)
		}
		last := at+int64(len(data)) == w.size
		err := stream.Send(&bytestream.WriteRequest{ResourceName: name, WriteOffset: at, FinishWrite: last, Data: data})
		if err != nil {
			return err
		}
		at += int64(len(data))
		w.count(at)
		if last {
			return nil
		}
		name = "" // only the first message needs it
	}
}

// count tells progress of bytes that were not sent before.
func (w *upload) count(at int64) {
	if at > w.counted {
		w.progress.moved(at - w.counted)
		w.counted = at
	}
}
