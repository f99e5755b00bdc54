package reapi

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// scheduler is what Execute asks of node/sched.
type scheduler interface {
	Join(ctx context.Context, sub sched.Submission) (name string, joined bool, err error)
	Submit(ctx context.Context, sub sched.Submission) (name string, err error)
	Finished(sub sched.Submission, r *repb.ExecuteResponse) *sched.State
	Watch(ctx context.Context, name string) (watch, error)
	Offers(name, value string) bool
}

// watch follows one operation: first its current state, then each change;
// io.EOF after the done one.
type watch interface {
	Next(ctx context.Context) (*sched.State, error)
	Close()
}

// results is the action cache as Execute needs it.
type results interface {
	Get(ctx context.Context, instance string, action digest.Digest) (*repb.ActionResult, error)
}

// execution serves build.bazel.remote.execution.v2.Execution.
type execution struct {
	repb.UnimplementedExecutionServer
	instances instances
	actions   *actions
	scheduler scheduler
	results   results
	inliner   inliner
	closing   context.Context // ends when the server stops; waiting streams end with it
	log       *slog.Logger
}

// maxCachedReply bounds in bytes the serialised answers that are kept with their
// action.
const maxCachedReply = 2 << 10

// cachedReply is an answer from the cache, ready to send again while the action
// cache still hands out the same result.
type cachedReply struct {
	result   *repb.ActionResult
	response *repb.ExecuteResponse
	wire     []byte
}

// Execute runs an action, or answers from the cache (REAPI, Execution.Execute).
// The order is BuildGrid's: an identical action in flight first, then the action
// cache, then the queue. What the client sends wrongly is INVALID_ARGUMENT with
// the field; what is missing from the store FAILED_PRECONDITION with a violation
// for each blob. A client that goes away cancels nothing.
func (e *execution) Execute(req *repb.ExecuteRequest, stream repb.Execution_ExecuteServer) error {
	ctx := stream.Context()
	instance, err := e.instances.resolve(req.GetInstanceName())
	if err != nil {
		return err
	}
	d, err := digestOf("action_digest", req.GetDigestFunction(), req.GetActionDigest())
	if err != nil {
		return err
	}
	if found, err := e.again(req, instance, stream); found {
		return err
	}
	action, err := e.actions.load(ctx, d)
	if err != nil {
		return err
	}
	sub := submissionOf(ctx, req, instance, action)
	if !action.doNotCache {
		name, joined, err := e.scheduler.Join(ctx, sub)
		if err != nil {
			return statusOf(err)
		}
		if joined {
			return e.follow(ctx, name, hintsOf(req), stream, asItIs)
		}
		if !req.GetSkipCacheLookup() {
			if answered, err := e.answerFromCache(ctx, req, action, sub, stream); answered || err != nil {
				return err
			}
		}
	}
	name, err := e.submit(ctx, action, sub)
	if missing := (*missingError)(nil); errors.As(err, &missing) && len(missing.digests) > maxTrailerViolations {
		return refuse(missing, sub, stream)
	}
	if err != nil {
		return err
	}
	return e.follow(ctx, name, hintsOf(req), stream, fromQueue)
}

// again follows what the same call began before, when the cluster says that its
// answer was lost: that goes on, whatever is in the stores by now.
func (e *execution) again(req *repb.ExecuteRequest, instance string, stream repb.Execution_ExecuteServer) (found bool, err error) {
	o := sched.OriginOf(stream.Context())
	if !o.Repeated || o.OperationID == "" {
		return false, nil
	}
	err = e.follow(stream.Context(), instance+"/"+o.OperationID, hintsOf(req), stream, fromQueue)
	return status.Code(err) != codes.NotFound, err
}

// refuse names more missing blobs than the status of a call has room for: as the
// status of an ExecuteResponse, where clients look as well (REAPI, Execute). The
// operation is done, and kept nowhere.
func refuse(missing *missingError, sub sched.Submission, stream sender) error {
	op, err := operationOf(&sched.State{
		Name: sub.Instance + "/" + uuid.NewString(), Stage: queue.Completed, Done: true,
		Job:      &queue.Job{Action: sub.Action, Stage: queue.Completed},
		Response: &repb.ExecuteResponse{Status: missing.status(len(missing.digests)).Proto()},
	}, nil)
	if err != nil {
		return statusOf(err)
	}
	return stream.Send(op)
}

// WaitExecution attaches to an operation (REAPI, Execution.WaitExecution). An
// unknown one is NOT_FOUND.
func (e *execution) WaitExecution(req *repb.WaitExecutionRequest, stream repb.Execution_WaitExecutionServer) error {
	name, err := e.instances.operationName(req.GetName())
	if err != nil {
		return err
	}
	return e.follow(stream.Context(), name, hints{}, stream, asItIs)
}

// submit queues an action whose inputs are all there.
func (e *execution) submit(ctx context.Context, action *parsedAction, sub sched.Submission) (string, error) {
	if err := e.actions.requirePresent(ctx, action); err != nil {
		return "", err
	}
	runner := action.platform.resolveRunner(e.scheduler.Offers)
	var err error
	switch runner {
	case runnerHosttools:
		err = e.actions.refuseRootFS(ctx, action)
	case runnerUserchroot:
		err = e.actions.requireChroot(ctx, action)
	}
	if err != nil {
		return "", err
	}
	sub.Matched = action.platform.withRunner(runner)
	name, err := e.scheduler.Submit(ctx, sub)
	if err != nil {
		return "", statusOf(err)
	}
	return name, nil
}

// answerFromCache sends the one message of an action whose result is cached.
func (e *execution) answerFromCache(ctx context.Context, req *repb.ExecuteRequest, action *parsedAction, sub sched.Submission, stream sender) (bool, error) {
	result, err := e.results.Get(ctx, sub.Instance, action.digest)
	if errors.Is(err, actioncache.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		if ctx.Err() != nil {
			return false, statusOf(ctx.Err())
		}
		e.log.WarnContext(ctx, "action cache lookup failed, the action is executed", "digest", action.digest.String(), "error", err)
		return false, nil
	}
	reply := action.cachedReply(result)
	state := e.scheduler.Finished(sub, reply.response)
	wire := reply.wire
	if h := hintsOf(req); h.any() {
		state, wire = e.inliner.state(ctx, state, h), nil
	}
	op, err := operationOf(state, wire)
	if err != nil {
		return true, statusOf(err)
	}
	return true, stream.Send(op)
}

// cachedReply returns the answer for result, from the last time where it is the
// same. The result is shared and never changed.
func (p *parsedAction) cachedReply(result *repb.ActionResult) *cachedReply {
	if last := p.reply.Load(); last != nil && last.result == result {
		return last
	}
	reply := &cachedReply{result: result, response: &repb.ExecuteResponse{Result: result, CachedResult: true}}
	if wire, err := proto.Marshal(reply.response); err == nil && len(wire) <= maxCachedReply {
		reply.wire = wire
		p.reply.Store(reply)
	}
	return reply
}

// sender is the half of both streams that follow needs.
type sender interface {
	Send(*longrunningpb.Operation) error
}

// follow sends the state of an operation and each change of it until it is done.
// When the server stops first, the stream ends with UNAVAILABLE: clients then
// ask again with WaitExecution.
func (e *execution) follow(ctx context.Context, name string, h hints, stream sender, first func(watch) watch) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.closing, func() { cancel(sched.ErrDraining) })()
	w, err := e.scheduler.Watch(ctx, name)
	if err != nil {
		return watchError(ctx, err)
	}
	defer w.Close()
	w = first(w)
	for {
		state, err := w.Next(ctx)
		if err != nil {
			return watchError(ctx, err)
		}
		if state.Done && h.any() {
			state = e.inliner.state(ctx, state, h)
		}
		op, err := operationOf(state, nil)
		if err != nil {
			return statusOf(err)
		}
		if err := stream.Send(op); err != nil || state.Done {
			return err
		}
	}
}

// watchError says why a stream ended without a result.
func watchError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, sched.ErrDraining) {
		return statusOf(cause)
	}
	if errors.Is(err, io.EOF) {
		return statusOf(sched.ErrDraining)
	}
	return statusOf(err)
}

// submissionOf describes the request to the scheduler; what only a new job needs
// comes in submit.
func submissionOf(ctx context.Context, req *repb.ExecuteRequest, instance string, action *parsedAction) sched.Submission {
	return sched.Submission{
		Instance:        instance,
		Action:          action.digest,
		Command:         action.commandLine,
		Priority:        req.GetExecutionPolicy().GetPriority(),
		Matched:         action.platform.matched,
		Carried:         action.platform.carried,
		Timeout:         action.timeout,
		DoNotCache:      action.doNotCache,
		RequestMetadata: requestMetadataOf(ctx),
		Client:          clientOf(ctx),
		OperationID:     sched.OriginOf(ctx).OperationID,
	}
}

var _ interface {
	grpc.ServerStream
	sender
} = repb.Execution_ExecuteServer(nil)
