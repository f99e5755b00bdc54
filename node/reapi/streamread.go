package reapi

import (
	"context"
	"errors"
	"fmt"
	"io"

	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// chunkBytes is the most that one message of a stream carries.
const chunkBytes = 1 << 20

// read serves ByteStream.Read: it streams a blob, or the part of it from read_offset on, read_limit bytes of
// it if that is set (google.bytestream, REAPI). An offset that is negative or
// beyond the end is OUT_OF_RANGE, at the end nothing is sent. The size is part of
// the digest: another one is NOT_FOUND.
func (s *byteStream) read(req *bspb.ReadRequest, stream grpc.ServerStream) error {
	if s.isLog(req.GetResourceName()) {
		return s.readLog(req, stream)
	}
	r, err := s.resourceOf(req.GetResourceName(), digest.ParseRead)
	if err != nil {
		return err
	}
	if req.GetReadLimit() < 0 {
		return invalidField("read_limit", "is negative")
	}
	return s.readBlob(stream, r.Digest, req.GetReadOffset(), req.GetReadLimit())
}

// readBlob sends a blob from an offset on; limit bytes of it, if that is above 0.
func (s *byteStream) readBlob(stream grpc.ServerStream, d digest.Digest, offset, limit int64) (err error) {
	if offset < 0 || offset > d.Size {
		return status.Errorf(codes.OutOfRange, "read_offset: %d is not within the blob's %d bytes", offset, d.Size)
	}
	left := d.Size - offset
	if limit > 0 {
		left = min(left, limit)
	}
	if d.Size <= smallBlob {
		err = s.readSmall(stream, d, offset, left)
	} else {
		err = s.readLarge(stream, d, offset, left)
	}
	if errors.Is(err, cas.ErrNotFound) {
		return notFound(d)
	}
	return statusOf(err)
}

// readSmall sends a part of a blob from the memory it was read into.
func (s *byteStream) readSmall(stream grpc.ServerStream, d digest.Digest, offset, left int64) error {
	data, err := s.store.Get(stream.Context(), d)
	if err != nil {
		return err
	}
	for data = data[offset : offset+left]; len(data) > 0; {
		n := min(len(data), chunkBytes)
		if err := stream.SendMsg(&readChunk{mem.SliceBuffer(data[:n])}); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// readLarge sends a part of a blob piece by piece, each from a buffer that is used
// again once it has gone out. While one piece is sent, the next is read.
func (s *byteStream) readLarge(stream grpc.ServerStream, d digest.Digest, offset, left int64) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	r, err := s.store.OpenReader(ctx, d, offset)
	if err != nil {
		return err
	}
	pieces := make(chan readPiece, 1)
	go s.readAhead(ctx, r, left, pieces)
	for p := range pieces {
		if p.err != nil {
			return p.err
		}
		if err := stream.SendMsg(&readChunk{p.data}); err != nil {
			cancel()
			for p := range pieces { // the reader ends, and what it has read is given back
				if p.data != nil {
					p.data.Free()
				}
			}
			return err
		}
	}
	return nil
}

// readPiece is a piece of a blob, or why there is none.
type readPiece struct {
	data mem.Buffer
	err  error
}

// readAhead reads left bytes in pieces until that is done or ctx ends, and closes
// out.
func (s *byteStream) readAhead(ctx context.Context, r io.ReadCloser, left int64, out chan<- readPiece) {
	defer close(out)
	defer r.Close() //nolint:errcheck // it never fails
	for left > 0 {
		buffer := s.pieces.Get(cas.PieceBytes)
		n, err := r.Read(*buffer)
		if err != nil {
			s.pieces.Put(buffer)
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("blob ends %d bytes early", left)
			}
			select {
			case out <- readPiece{err: err}:
			case <-ctx.Done():
			}
			return
		}
		*buffer = (*buffer)[:min(int64(n), left)]
		left -= int64(len(*buffer))
		data := mem.NewBuffer(buffer, s.pieces)
		select {
		case out <- readPiece{data: data}:
		case <-ctx.Done():
			data.Free()
			return
		}
	}
}

// readChunk is a ReadResponse{data 10}. grpc-go frees the data when it is sent.
type readChunk struct{ data mem.Buffer }

func (m *readChunk) writeWire() mem.BufferSlice {
	head := make([]byte, 0, 8)
	head = protowire.AppendVarint(append(head, 10<<3|2), uint64(m.data.Len()))
	return mem.BufferSlice{mem.SliceBuffer(head), m.data}
}
