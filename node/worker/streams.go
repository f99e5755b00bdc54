package worker

import (
	"context"
	"io"
	"os"
	"slices"
	"time"

	logpb "github.com/bazelbuild/remote-apis/build/bazel/remote/logstream/v1"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// How often the output of a command is looked at for more; the time doubles while
// there is none.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = time.Second
)

// endPatience is how long the end of an output may take to reach the server.
const endPatience = time.Minute

// Keys of Lease.requirements.configs by which a worker names the log streams that
// it writes the output of a lease to.
const (
	configStdout = "stdout_stream"
	configStderr = "stderr_stream"
)

// output is what one command prints, on its way to the server.
type output struct {
	l     *link
	lease *runners.Lease
	sides [2]outputSide // stdout, stderr
}

type outputSide struct {
	file  *os.File
	name  string // to write the log stream by
	at    int64  // bytes that the server has
	ended bool
}

// follow is the worker's runners.StreamsFunc: what a command prints is written to
// two log streams of the server, whose names go with the lease.
func (l *link) follow(lease *runners.Lease, stdout, stderr *os.File) func(stdout, stderr digest.Digest) {
	o := &output{l: l, lease: lease, sides: [2]outputSide{{file: stdout}, {file: stderr}}}
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		o.write(ctx, ended)
	}()
	return func(digest.Digest, digest.Digest) {
		close(ended)
		time.AfterFunc(endPatience, cancel)
	}
}

// write copies until the command has ended, and all of it is at the server. A
// server that has lost the streams, since it is another by now, gets others. Any
// other refusal ends the copying: it is a convenience, the output itself goes
// another way.
func (o *output) write(ctx context.Context, ended <-chan struct{}) {
	defer func() { _, _ = o.sides[0].file.Close(), o.sides[1].file.Close() }()
	look, created, met := firstLook, false, 0
	for over := false; ; {
		var err error
		moved := false
		if !created {
			err = o.create(ctx)
			created = err == nil
		} else if now := o.l.met(); now != met { // perhaps another process, which knows of nothing
			err = o.check(ctx)
			if err == nil {
				met = now
			}
		}
		if created && err == nil {
			moved, err = o.copy(ctx, over)
		}
		switch {
		case err == nil && over && o.sides[0].ended && o.sides[1].ended, ctx.Err() != nil:
			return
		case status.Code(err) == codes.NotFound:
			created = false
		case err != nil && status.Code(err) != codes.Unavailable:
			o.l.log.Debug("the output of an action cannot be followed any more", "lease", o.lease.ID, "error", err)
			o.l.announce(o.lease, "", "")
			return
		}
		if look = min(2*look, lastLook); moved {
			look = firstLook
		}
		if over && err == nil {
			continue
		}
		select {
		case <-ended:
			over, ended = true, nil
		case <-time.After(look):
		case <-ctx.Done():
		}
	}
}

// create makes the streams, and tells the server that they are the lease's.
func (o *output) create(ctx context.Context) error {
	var names [2]string
	for i := range o.sides {
		s, err := logpb.NewLogStreamServiceClient(o.l.conn).CreateLogStream(ctx, &logpb.CreateLogStreamRequest{Parent: o.l.o.Instance})
		if err != nil {
			return err
		}
		names[i] = s.GetName()
		o.sides[i].name, o.sides[i].at, o.sides[i].ended = s.GetWriteResourceName(), 0, false
	}
	o.l.announce(o.lease, names[0], names[1])
	return nil
}

// check asks whether the server still knows the streams.
func (o *output) check(ctx context.Context) error {
	_, err := bspb.NewByteStreamClient(o.l.conn).QueryWriteStatus(ctx, &bspb.QueryWriteStatusRequest{ResourceName: o.sides[0].name})
	return err
}

func (l *link) met() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.meetings
}

// copy sends what is new; over: the command has ended.
func (o *output) copy(ctx context.Context, over bool) (moved bool, err error) {
	for i := range o.sides {
		n, err := o.sides[i].copy(ctx, o.l, over)
		if err != nil {
			return moved, err
		}
		moved = moved || n > 0
	}
	return moved, nil
}

// piece bounds in bytes what one message carries.
const piece = 256 << 10

func (s *outputSide) copy(ctx context.Context, l *link, over bool) (int64, error) {
	if s.ended {
		return 0, nil
	}
	data, err := io.ReadAll(io.NewSectionReader(s.file, s.at, piece))
	if err != nil {
		return 0, err
	}
	finish := over && len(data) < piece
	if len(data) == 0 && !finish {
		return 0, nil
	}
	bytes := bspb.NewByteStreamClient(l.conn)
	stream, err := bytes.Write(ctx)
	if err != nil {
		return 0, err
	}
	// A server that ends the call early says why in its answer.
	_ = stream.Send(&bspb.WriteRequest{ResourceName: s.name, WriteOffset: s.at, Data: data, FinishWrite: finish})
	reply, err := stream.CloseAndRecv()
	if code := status.Code(err); code == codes.InvalidArgument || code == codes.FailedPrecondition {
		// The answer to an earlier call was lost, perhaps.
		known, asked := bytes.QueryWriteStatus(ctx, &bspb.QueryWriteStatusRequest{ResourceName: s.name})
		if asked != nil || (known.CommittedSize == s.at && !known.Complete) {
			return 0, err
		}
		n := known.CommittedSize - s.at
		s.at, s.ended = known.CommittedSize, known.Complete
		return n, nil
	}
	if err != nil {
		return 0, err
	}
	n := reply.CommittedSize - s.at
	s.at, s.ended = reply.CommittedSize, finish
	return n, nil
}

// announce names the log streams of a lease to the server; empty names take them
// back.
func (l *link) announce(lease *runners.Lease, stdout, stderr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[lease.ID]
	if h == nil || h.attempt != lease.Attempt || h.ended != nil {
		return
	}
	m := proto.CloneOf(h.lease) // the old one may be on its way
	if m.Requirements == nil {
		m.Requirements = &botspb.Worker{}
	}
	kept := slices.DeleteFunc(m.Requirements.Configs, func(c *botspb.Worker_Config) bool {
		return c.Key == configStdout || c.Key == configStderr
	})
	if stdout != "" {
		kept = append(kept, &botspb.Worker_Config{Key: configStdout, Value: stdout}, &botspb.Worker_Config{Key: configStderr, Value: stderr})
	}
	m.Requirements.Configs = kept
	h.lease = m
	l.tell()
}
