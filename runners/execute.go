package runners

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"golang.org/x/sys/unix"
	"google.golang.org/genproto/googleapis/rpc/code"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// execution is one action on its way through the worker.
type execution struct {
	w       *Worker
	lease   *Lease
	in      *inputs
	place   *place
	live    *liveOutput // nil: the command has not been started
	apis    *apis       // nil: the action has no socket
	root    *inputRoot
	layout  layout
	limits  Limits
	timeout time.Duration // of the command; 0: none
	exit    Exit
	result  *repb.ActionResult
	meta    *repb.ExecutedActionMetadata
}

// execute takes a lease all the way. It never fails: what goes wrong is the
// completion's status.
func (w *Worker) execute(ctx context.Context, l *Lease, received time.Time) Completion {
	e := &execution{w: w, lease: l, meta: &repb.ExecutedActionMetadata{
		Worker:               w.name,
		WorkerStartTimestamp: timestamppb.New(received),
	}}
	if !l.Queued.IsZero() {
		e.meta.QueuedTimestamp = timestamppb.New(l.Queued)
	}
	e.result = &repb.ActionResult{ExecutionMetadata: e.meta}
	err := unlessCancelled(ctx, e.run(ctx))
	e.live.end(err, e.result)
	e.cleanUp()
	e.meta.WorkerCompletedTimestamp = timestamppb.Now()
	c := Completion{LeaseID: l.ID, Attempt: l.Attempt, Status: statusOf(err)}
	switch {
	case err != nil:
		w.log.Debug("action not executed", keyLease, l.ID, keyAttempt, l.Attempt, keyError, err)
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			w.files.makeRoom()
		}
	case e.exit.TimedOut:
		c.Result = e.result
		c.Status = &statuspb.Status{
			Code:    int32(code.Code_DEADLINE_EXCEEDED),
			Message: fmt.Sprintf("the command was killed after its time-out of %s", e.timeout),
		}
	case e.exit.Exceeded != "":
		c.Result = e.result
		c.Status = &statuspb.Status{Code: int32(code.Code_RESOURCE_EXHAUSTED), Message: e.exit.Exceeded}
	default:
		c.Result = e.result
	}
	return c
}

// run executes the action as far as it goes.
func (e *execution) run(ctx context.Context) error {
	runner, err := e.w.runner(e.lease)
	if err != nil {
		return err
	}
	if e.limits, e.timeout, err = limitsOf(e.lease, e.w.limits); err != nil {
		return err
	}
	if err := e.prepare(ctx, runner); err != nil {
		return err
	}
	if err := e.command(ctx, runner); err != nil {
		return err
	}
	return e.collect(ctx)
}

// prepare fetches and lays out the inputs.
func (e *execution) prepare(ctx context.Context, runner Runner) (err error) {
	e.meta.InputFetchStartTimestamp = timestamppb.Now()
	if e.in, err = e.w.fetchInputs(ctx, e.lease); err != nil {
		return err
	}
	if e.root, err = e.w.work.newRoot(); err != nil {
		return err
	}
	if err := e.lay(ctx, runner); err != nil {
		return err
	}
	e.meta.InputFetchCompletedTimestamp = timestamppb.Now()
	return nil
}

// command runs the command when it is its turn.
func (e *execution) command(ctx context.Context, runner Runner) (err error) {
	giveSlot := sync.OnceFunc(func() { <-e.w.slots })
	select {
	case e.w.slots <- struct{}{}:
		defer giveSlot()
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.place, err = e.w.takePlace(); err != nil {
		return err
	}
	if e.apis, err = e.openAPIs(); err != nil {
		return err
	}
	defer e.apis.close()
	if e.apis != nil { // it waits for others, which need a place too
		giveSlot()
	}
	e.live = e.watchOutput()
	defer e.live.stop()
	ctx, unwatch := e.w.disk.watch(ctx, e.root.path)
	defer unwatch()
	e.exit, err = runner.Run(ctx, Task{
		LeaseID: e.lease.ID, Dir: e.layout.dir, WorkingDir: e.in.command.workingDir,
		Args: e.in.command.args, Env: e.in.command.env,
		Stdout: e.place.stdout.path, Stderr: e.place.stderr.path,
		Timeout: e.timeout, Properties: e.lease.Properties, Layers: e.layout.layers, Subtrees: e.layout.subtrees, Limits: e.limits, Socket: e.apis.task(),
	})
	if err != nil {
		if failure, ok := errors.AsType[*Failure](context.Cause(ctx)); ok {
			return failure // that of the disk guard
		}
		return err
	}
	e.meta.ExecutionStartTimestamp = timestamppb.New(e.exit.Started)
	e.meta.ExecutionCompletedTimestamp = timestamppb.New(e.exit.Completed)
	return e.describeUsage()
}

// collect stores the outputs. Those of an action that ran out of time are stored,
// too, as far as it came.
func (e *execution) collect(ctx context.Context) error {
	e.meta.OutputUploadStartTimestamp = timestamppb.Now()
	root, done, err := e.outputRoot()
	if err != nil {
		return err
	}
	defer done()
	e.apis.tidy(root, e.layout.lower())
	up := newUploader(e.w.blobs, e.lease.Action.Function, e.w.maxOut)
	notes, err := collect(ctx, root, e.in.command, up, e.result)
	if err != nil {
		return err
	}
	e.result.ExitCode = int32(e.exit.Code)
	if e.result.StdoutDigest, err = e.place.stdout.store(ctx, up, nil); err != nil {
		return fmt.Errorf("store stdout: %w", err)
	}
	if e.result.StderrDigest, err = e.place.stderr.store(ctx, up, notes); err != nil {
		return fmt.Errorf("store stderr: %w", err)
	}
	if err := up.flush(ctx); err != nil {
		return err
	}
	e.meta.OutputUploadCompletedTimestamp = timestamppb.Now()
	return nil
}

// cleanUp gives back what the action had. The input root is removed in the
// background.
func (e *execution) cleanUp() {
	e.finishLayout()
	if e.root != nil {
		e.w.work.discard(e.root)
	}
	if e.place != nil {
		e.w.givePlace(e.place)
	}
}
