package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrNoOutput is wrapped when a server does not tell what an execution has printed
// so far.
var ErrNoOutput = errors.New("no output can be read")

// Output shows what an execution prints while it prints it. Make one with
// Client.Output, hand it every state of the operation, and Finish it.
type Output struct {
	c      *Client
	ctx    context.Context //nolint:containedctx // of the streams that Watch begins
	cancel context.CancelFunc
	lost   func() // told that an attempt was lost, and that its output begins anew; may be nil

	mu     sync.Mutex
	sides  [2]side // stdout, stderr
	closed bool
}

// side is one of the two streams.
type side struct {
	to   io.Writer
	name string // of the log stream that is read, or was
	tail *tail  // nil: there was none
}

// tail is a log stream being read by a goroutine.
type tail struct {
	end context.CancelFunc
	at  atomic.Int64  // bytes written to the writer
	err error         // of the writer; read it after done is closed
	did chan struct{} // closed when the goroutine has ended
}

// Output begins to follow the output of one execution. ctx ends all reading; lost
// is called when output that was shown is of an attempt that came to nothing.
func (c *Client) Output(ctx context.Context, stdout, stderr io.Writer, lost func()) *Output {
	o := &Output{c: c, lost: lost}
	o.ctx, o.cancel = context.WithCancel(ctx)
	o.sides[0].to, o.sides[1].to = stdout, stderr
	return o
}

// Watch takes a state of the operation: as soon as it names log streams
// (ExecuteOperationMetadata.stdout_stream_name), they are read. It does not wait.
func (o *Output) Watch(op *Operation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	names := [2]string{op.Metadata.GetStdoutStreamName(), op.Metadata.GetStderrStreamName()}
	again := false
	for i := range o.sides {
		s := &o.sides[i]
		if names[i] == "" || names[i] == s.name || op.Done {
			continue
		}
		if s.stop() > 0 {
			again = true
		}
		s.name = names[i]
	}
	if again && o.lost != nil {
		o.lost()
	}
	for i := range o.sides {
		if s := &o.sides[i]; s.name != "" && s.tail == nil {
			s.tail = o.c.tail(o.ctx, s.name, s.to)
		}
	}
}

// stop ends the reading and returns how much was written.
func (s *side) stop() int64 {
	if s.tail == nil {
		return 0
	}
	s.tail.end()
	<-s.tail.did
	n := s.tail.at.Load()
	s.tail = nil
	return n
}

// lastWords is how long the streams of an execution that ended without a result are
// read on.
const lastWords = 5 * time.Second

// Finish writes what is missing of the output of an operation that is done: from
// its result, verified, or, when there is none, from its log streams.
func (o *Output) Finish(ctx context.Context, op *Operation) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.cancel()
	r := op.Response.GetResult()
	fields := [2]struct {
		raw    []byte
		digest *repb.Digest
	}{{r.GetStdoutRaw(), r.GetStdoutDigest()}, {r.GetStderrRaw(), r.GetStderrDigest()}}
	deadline := time.NewTimer(lastWords)
	defer deadline.Stop()
	for i := range o.sides {
		s := &o.sides[i]
		if r == nil && s.tail != nil {
			select {
			case <-s.tail.did:
			case <-deadline.C:
				deadline.Reset(0)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		t := s.tail
		rest := &skipWriter{to: s.to, skip: s.stop()}
		if t != nil && t.err != nil {
			return t.err
		}
		if err := o.c.writeStream(ctx, fields[i].raw, fields[i].digest, rest); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all reading of an Output that is not to be finished.
func (o *Output) Close() {
	o.cancel()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for i := range o.sides {
		o.sides[i].stop()
	}
}

// skipWriter leaves out the first bytes.
type skipWriter struct {
	to   io.Writer
	skip int64
}

func (w *skipWriter) Write(p []byte) (int, error) {
	n := int(min(w.skip, int64(len(p))))
	w.skip -= int64(n)
	if n == len(p) {
		return n, nil
	}
	more, err := w.to.Write(p[n:])
	return n + more, err
}

// tail copies a log stream to w as it grows, to its end.
func (c *Client) tail(ctx context.Context, name string, w io.Writer) *tail {
	t := &tail{did: make(chan struct{})}
	ctx, t.end = context.WithCancel(ctx)
	go func() {
		defer close(t.did)
		defer t.end()
		b := c.backoff()
		for {
			before := t.at.Load()
			err := c.tailOnce(ctx, name, w, 0, &t.at)
			var local *localError
			if errors.As(err, &local) {
				t.err = local.err
			}
			if t.at.Load() > before {
				b.progress()
			}
			if err == nil || local != nil || b.wait(ctx, err) != nil {
				return // what is missing comes from the result
			}
		}
	}()
	return t
}

// tailOnce reads from at on, limit bytes if that is above 0.
func (c *Client) tailOnce(ctx context.Context, name string, w io.Writer, limit int64, at *atomic.Int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.bytes.Read(ctx, &bytestream.ReadRequest{ResourceName: name, ReadOffset: at.Load(), ReadLimit: limit})
	if err != nil {
		return err
	}
	for {
		reply, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		c.heard(err)
		if err != nil {
			return err
		}
		n, err := w.Write(reply.Data)
		at.Add(int64(n))
		if err != nil {
			return &localError{err}
		}
	}
}

// OutputSoFar writes what an execution has printed so far: of one that is done, all
// of it. ErrNoOutput is wrapped when the server does not say.
func (c *Client) OutputSoFar(ctx context.Context, op *Operation, stdout, stderr io.Writer) error {
	if op.Done {
		r := op.Response.GetResult()
		return errors.Join(c.WriteStdout(ctx, r, stdout), c.WriteStderr(ctx, r, stderr))
	}
	for _, s := range []struct {
		name string
		to   io.Writer
	}{{op.Metadata.GetStdoutStreamName(), stdout}, {op.Metadata.GetStderrStreamName(), stderr}} {
		if s.name == "" {
			return fmt.Errorf("%w of operation %s: it is %s, and the server names no stream of it", ErrNoOutput, op.Name, op.Stage())
		}
		if err := c.soFar(ctx, s.name, s.to); err != nil {
			return c.explain("read output of "+op.Name, err)
		}
	}
	return nil
}

// soFar asks how much there is of a log stream, and reads that.
func (c *Client) soFar(ctx context.Context, name string, w io.Writer) error {
	reply, err := c.bytes.QueryWriteStatus(ctx, &bytestream.QueryWriteStatusRequest{ResourceName: name})
	if status.Code(err) == codes.Unimplemented {
		return fmt.Errorf("%w without waiting for more: the server does not say how much there is", ErrNoOutput)
	}
	if err != nil || reply.CommittedSize == 0 {
		return err
	}
	var at atomic.Int64
	err = c.tailOnce(ctx, name, w, reply.CommittedSize, &at)
	if local := (*localError)(nil); errors.As(err, &local) {
		return local.err
	}
	return err
}
