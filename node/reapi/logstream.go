package reapi

import (
	"context"
	"errors"
	"io"

	logpb "github.com/bazelbuild/remote-apis/build/bazel/remote/logstream/v1"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/bgrid-node/bgrid-node/node/logstream"
	"github.com/bgrid-node/bgrid-node/node/sched"
)

// logStreams serves build.bazel.remote.logstream.v1.LogStreamService. The streams
// are read and written by ByteStream.
type logStreams struct {
	logpb.UnimplementedLogStreamServiceServer
	instances instances
	hub       *logstream.Hub
}

// CreateLogStream makes a stream that its caller writes. The parent is the
// instance, or something below it.
func (l *logStreams) CreateLogStream(_ context.Context, req *logpb.CreateLogStreamRequest) (*logpb.LogStream, error) {
	parent, err := l.instances.resolveParent(req.GetParent())
	if err != nil {
		return nil, err
	}
	name, writeName, err := l.hub.Create(parent)
	if errors.Is(err, logstream.ErrName) {
		return nil, invalidField("parent", err.Error())
	}
	if err != nil {
		return nil, statusOf(err)
	}
	return &logpb.LogStream{Name: name, WriteResourceName: writeName}, nil
}

// isLog tells the name of a log stream.
func (s *byteStream) isLog(name string) bool { return s.streams != nil && logstream.IsName(name) }

// logName checks the instance in the name of a log stream and returns the name as
// the hub has it.
func (s *byteStream) logName(name string) (string, error) {
	parent, err := logstream.Parent(name)
	if err != nil {
		return "", invalidField("resource_name", err.Error())
	}
	resolved, err := s.instances.resolveParent(parent)
	if err != nil {
		return "", err
	}
	if parent == "" && resolved != "" {
		return resolved + "/" + name, nil
	}
	return name, nil
}

// logBuffer is how much of a log one message carries at most.
const logBuffer = 32 << 10

// readLog serves ByteStream.Read of a log stream: from any offset on, waiting for
// more until the stream has ended or read_limit is reached. A name that is unknown,
// or whose time is over, is NOT_FOUND; when the server stops the call ends with
// UNAVAILABLE and can be made again.
func (s *byteStream) readLog(req *bspb.ReadRequest, stream grpc.ServerStream) error {
	if req.GetReadLimit() < 0 {
		return invalidField("read_limit", "is negative")
	}
	name, err := s.logName(req.GetResourceName())
	if err != nil {
		return err
	}
	if conn, err := s.hubOf(name); err != nil {
		return err
	} else if conn != nil {
		return readElsewhere(conn, req, stream)
	}
	r, err := s.streams.Open(name, req.GetReadOffset())
	if err != nil {
		return statusOf(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.closing, func() { cancel(sched.ErrDraining) })()
	err = s.sendLog(ctx, r, req.GetReadLimit(), stream)
	if errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	return statusOf(err)
}

func (s *byteStream) sendLog(ctx context.Context, r *logstream.Reader, limit int64, stream grpc.ServerStream) error {
	for left := limit; limit == 0 || left > 0; {
		n, err := r.Wait(ctx)
		if moved := (*logstream.Moved)(nil); errors.As(err, &moved) {
			of := *s
			of.store = s.logBlobs
			return of.readBlob(stream, moved.Blob, r.Offset(), left)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		n = min(n, logBuffer)
		if limit > 0 {
			n = min(n, left)
		}
		buffer := mem.DefaultBufferPool().Get(int(n))
		got, err := r.Read(*buffer)
		if err != nil {
			mem.DefaultBufferPool().Put(buffer)
			return err
		}
		*buffer = (*buffer)[:got]
		left -= int64(got)
		if err := stream.SendMsg(&readChunk{mem.NewBuffer(buffer, mem.DefaultBufferPool())}); err != nil {
			return err
		}
	}
	return nil
}

// logStatus serves ByteStream.QueryWriteStatus of a log stream. Beside the name to
// write it takes the one to read: so a reader can ask how much there is.
func (s *byteStream) logStatus(ctx context.Context, req *bspb.QueryWriteStatusRequest) (*bspb.QueryWriteStatusResponse, error) {
	name, err := s.logName(req.GetResourceName())
	if err != nil {
		return nil, err
	}
	if conn, err := s.hubOf(name); err != nil {
		return nil, err
	} else if conn != nil {
		return bspb.NewByteStreamClient(conn).QueryWriteStatus(ctx, req)
	}
	committed, finished, err := s.streams.Status(name)
	if err != nil {
		return nil, statusOf(err)
	}
	return &bspb.QueryWriteStatusResponse{CommittedSize: committed, Complete: finished}, nil
}

// appendLog serves ByteStream.Write of a log stream: what each message carries can
// be read at once. A stream that ends without finish_write leaves the log open: it
// goes on, by another call, at the offset that is answered.
func (w *blobUpload) appendLog() (int64, error) {
	w.name = w.chunk.name
	name, err := w.s.logName(w.name)
	if err != nil {
		return 0, err
	}
	if conn, err := w.s.hubOf(name); err != nil {
		return 0, err
	} else if conn != nil {
		return w.writeElsewhere(conn)
	}
	for {
		at, err := w.s.streams.Append(name, w.chunk.offset, w.chunk.data, w.chunk.finish)
		if wrong := (*logstream.OffsetError)(nil); errors.As(err, &wrong) {
			return 0, invalidField("write_offset", wrong.Error())
		}
		if err != nil {
			return 0, err
		}
		if w.chunk.finish {
			return at, w.nothingMore()
		}
		if err := w.receive(); errors.Is(err, io.EOF) {
			return at, nil
		} else if err != nil {
			return 0, err
		}
		if w.chunk.name != "" && w.chunk.name != w.name {
			return 0, invalidField("resource_name", "differs from that of the first message")
		}
	}
}
