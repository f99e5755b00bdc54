package client

import (
	"context"
	"errors"
	"io"
	"strings"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Execution is an action to execute, whose blobs the server has.
type Execution struct {
	Action          digest.Digest
	SkipCacheLookup bool
	Priority        int32 // lower runs first; 0 is the default
}

// maxSubmits bounds how often one Execution is submitted anew because the server
// has forgotten its operation.
const maxSubmits = 5

// Execute runs an action and returns its finished operation; see Outcome for how
// it ended. watch, which may be nil, is told each change. A broken stream is
// taken up again with WaitExecution; an operation that the server has forgotten
// is submitted again. The end of ctx ends the waiting, not the action: see Cancel.
func (c *Client) Execute(ctx context.Context, e Execution, watch func(*Operation)) (*Operation, error) {
	f := &follower{c: c, watch: watch}
	f.open = func(ctx context.Context) (operationStream, error) {
		req := &repb.ExecuteRequest{
			InstanceName:    c.instance,
			ActionDigest:    e.Action.Proto(),
			SkipCacheLookup: e.SkipCacheLookup,
			DigestFunction:  c.fn.Proto(),
		}
		if e.Priority != 0 {
			req.ExecutionPolicy = &repb.ExecutionPolicy{Priority: e.Priority}
		}
		return c.exec.Execute(ctx, req)
	}
	op, err := f.follow(ctx)
	return op, c.explain("execute "+e.Action.String(), err)
}

// Wait follows an operation until it is done (REAPI, WaitExecution). A name that
// the server does not know is ErrNotFound.
func (c *Client) Wait(ctx context.Context, name string, watch func(*Operation)) (*Operation, error) {
	f := &follower{c: c, watch: watch, name: name}
	op, err := f.follow(ctx)
	return op, c.explain("wait for "+name, err)
}

// operationStream is what Execute and WaitExecution answer with.
type operationStream interface {
	Recv() (*longrunningpb.Operation, error)
}

// follower follows one execution over as many streams as it takes.
type follower struct {
	c       *Client
	watch   func(*Operation)
	open    func(context.Context) (operationStream, error) // submits; nil: only waits
	name    string                                         // of the operation, once known
	submits int
}

func (f *follower) follow(ctx context.Context) (*Operation, error) {
	b := f.c.backoff()
	for {
		op, heard, err := f.attempt(ctx)
		if op != nil {
			return op, nil
		}
		if heard {
			b.progress()
		}
		if f.name != "" && f.open != nil && f.submits < maxSubmits && isForgotten(err) {
			f.name = ""
			continue
		}
		if err := b.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// isForgotten tells whether an operation cannot be waited for any more.
func isForgotten(err error) bool {
	code := status.Code(err)
	return code == codes.NotFound || code == codes.Unimplemented
}

// attempt follows one stream. It returns the operation when that is done, and
// whether the server said anything.
func (f *follower) attempt(ctx context.Context) (done *Operation, heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var stream operationStream
	if f.name == "" {
		f.submits++
		stream, err = f.open(ctx)
	} else {
		stream, err = f.c.exec.WaitExecution(ctx, &repb.WaitExecutionRequest{Name: f.name})
	}
	if err != nil {
		return nil, false, err
	}
	for {
		raw, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			err = status.Error(codes.Unavailable, "the stream ended before the operation was done")
			return nil, heard, err
		}
		f.c.heard(err)
		if err != nil {
			return nil, heard, err
		}
		heard = true
		op, err := operationOf(raw)
		if err != nil {
			return nil, heard, err
		}
		f.name = op.Name
		if f.watch != nil {
			f.watch(op)
		}
		if op.Done {
			return op, heard, nil
		}
	}
}

// MissingBlobs returns the blobs whose absence err reports: a FAILED_PRECONDITION
// with violations of type MISSING (REAPI, Execution).
func MissingBlobs(err error) []digest.Digest {
	s, ok := status.FromError(err)
	if !ok || s.Code() != codes.FailedPrecondition {
		return nil
	}
	var out []digest.Digest
	for _, detail := range s.Details() {
		failure, ok := detail.(*errdetails.PreconditionFailure)
		if !ok {
			continue
		}
		for _, v := range failure.Violations {
			if v.Type != "MISSING" {
				continue
			}
			if d, err := digest.Parse(strings.TrimPrefix(v.Subject, "blobs/")); err == nil {
				out = append(out, d)
			}
		}
	}
	return out
}

// CachedResult looks an action up in the action cache. A miss is ErrNotFound.
func (c *Client) CachedResult(ctx context.Context, action digest.Digest) (*repb.ActionResult, error) {
	var r *repb.ActionResult
	err := c.retry(ctx, func(ctx context.Context) (err error) {
		r, err = c.cache.GetActionResult(ctx, &repb.GetActionResultRequest{
			InstanceName: c.instance, ActionDigest: action.Proto(), DigestFunction: c.fn.Proto(),
		})
		return err
	})
	return r, c.explain("look up the result of "+action.String(), err)
}
