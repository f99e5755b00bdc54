package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

const (
	actionPace = 50 * time.Millisecond
	longestRun = 600 // ms, of an action
	watchPace  = 100 * time.Millisecond
)

// action leaves a line in a file of its own each time it runs.
type action struct {
	prepared *client.Prepared
	file     string
	output   digest.Digest
}

// useActions executes one action after the other until ctx ends.
func (c *caller) useActions(ctx context.Context) {
	for n := 0; c.pause(ctx, actionPace); n++ {
		a, err := c.newAction(fmt.Sprintf("%d-%d", c.id, n))
		if err != nil {
			c.complaints.add(err)
			return
		}
		if c.store(ctx, a.prepared.Sources) == nil && c.execute(ctx, a) == nil {
			c.operations.end(a)
			c.actions.Add(1)
		}
	}
}

// newAction is one that nobody has executed before.
func (c *caller) newAction(name string) (*action, error) {
	inputs, err := client.NewTreeBuilder(digest.SHA256).Build(context.Background())
	if err != nil {
		return nil, err
	}
	a := &action{file: filepath.Join(c.ran, name), output: digest.Of(digest.SHA256, []byte(name+"\n"))}
	script := fmt.Sprintf("date +%%s%%N >> %s; sleep %.3f; echo %s > out", a.file, float64(c.random.IntN(longestRun))/1000, name)
	a.prepared, err = client.Job{
		Arguments: []string{"/bin/sh", "-c", script}, Outputs: []string{"out"},
		Env: map[string]string{"PATH": "/usr/bin:/bin"}, Platform: map[string][]string{"runner": {"hosttools"}},
	}.Prepare(digest.SHA256, inputs)
	return a, err
}

// execute runs an action: it begins at one node, and after the first answer often
// goes on at another, as clients of a load balancer do. Sometimes it leaves; the
// action must come to its end all the same.
func (c *caller) execute(ctx context.Context, a *action) error {
	var op *accepted
	leave, move := c.random.IntN(10) == 0, c.random.IntN(2) == 0
	return c.try(ctx, "execute "+a.file, func(ctx context.Context, e *endpoint) error {
		for {
			err := c.follow(ctx, e, a, &op, move || leave)
			if !errors.Is(err, errMoved) {
				return err
			}
			if leave {
				return nil
			}
			move = false
			e = c.endpoints[c.random.IntN(len(c.endpoints))]
		}
	})
}

// errMoved ends a stream on purpose, after the first answer.
var errMoved = errors.New("the client goes elsewhere")

// follow reads one stream: of Execute, or of WaitExecution once the operation is
// known.
func (c *caller) follow(ctx context.Context, e *endpoint, a *action, op **accepted, move bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call := c.opHistory.now()
	var stream interface {
		Recv() (*longrunningpb.Operation, error)
	}
	var err error
	if *op == nil {
		stream, err = e.exec.Execute(ctx, &repb.ExecuteRequest{InstanceName: harness.Instance, ActionDigest: a.prepared.Action.Proto()})
	} else {
		stream, err = e.exec.WaitExecution(ctx, &repb.WaitExecutionRequest{Name: (*op).name})
	}
	for last := absent; err == nil; {
		var message *longrunningpb.Operation
		if message, err = stream.Recv(); err != nil {
			break
		}
		if *op == nil {
			if message.GetDone() { // from the cache: it is known where it was answered, and not for long
				return c.fromCache(message, a)
			}
			*op = c.operations.accept(message.GetName(), a)
		}
		now, err := c.see(*op, message, call)
		switch {
		case err != nil:
			return err
		case now.stage < last.stage:
			return fmt.Errorf("operation %s went from %s back to %s in one stream", (*op).name, last, now)
		case now.stage == repb.ExecutionStage_COMPLETED:
			return nil
		case move:
			return errMoved
		}
		last = now
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("a stream ended before its operation was done")
	}
	return err
}

// fromCache checks the answer to an Execute that has no operation: the answer to an
// earlier one was lost, and its action has ended since.
func (c *caller) fromCache(message *longrunningpb.Operation, a *action) error {
	_, response, err := sightOf(message)
	if err == nil && !response.GetCachedResult() {
		err = fmt.Errorf("the first answer to Execute is operation %s, done, and not from the cache", message.GetName())
	}
	if err != nil {
		return err
	}
	return a.check(message.GetName(), response)
}

// see notes what a message says, and checks the result of a completed operation.
func (c *caller) see(op *accepted, message *longrunningpb.Operation, call int64) (sight, error) {
	if message.GetName() != op.name {
		return absent, fmt.Errorf("operation %s is called %s", op.name, message.GetName())
	}
	s, response, err := sightOf(message)
	if err != nil {
		return absent, err
	}
	c.opHistory.add(c.id, op.name, s, call, c.opHistory.now())
	if response == nil {
		return s, nil
	}
	op.done.Store(true)
	return s, op.action.check(op.name, response)
}

func (a *action) check(name string, response *repb.ExecuteResponse) error {
	if code := codes.Code(response.GetStatus().GetCode()); code != codes.OK {
		return fmt.Errorf("operation %s ended with status %s: %s", name, code, response.GetStatus().GetMessage())
	}
	r := response.GetResult()
	if r.GetExitCode() != 0 || len(r.GetOutputFiles()) != 1 || r.GetOutputFiles()[0].GetDigest().GetHash() != a.output.Hex() {
		return fmt.Errorf("operation %s ended with exit code %d and outputs %v: %s", name, r.GetExitCode(), r.GetOutputFiles(), r.GetStderrRaw())
	}
	return nil
}

// watchOperations asks any node for any operation until ctx ends.
func (c *caller) watchOperations(ctx context.Context) {
	for c.pause(ctx, watchPace) {
		all := c.operations.list()
		if len(all) == 0 {
			continue
		}
		recent := max(0, len(all)-20) // most of the time one that may be under way
		if c.random.IntN(4) == 0 {
			recent = 0
		}
		op := all[recent+c.random.IntN(len(all)-recent)]
		_ = c.try(ctx, "get operation "+op.name, func(ctx context.Context, e *endpoint) error { return c.look(ctx, e, op) })
	}
}

// look asks a node for an operation.
func (c *caller) look(ctx context.Context, e *endpoint, op *accepted) error {
	call := c.opHistory.now()
	message, err := e.ops.GetOperation(ctx, &longrunningpb.GetOperationRequest{Name: op.name})
	if status.Code(err) == codes.NotFound {
		c.opHistory.add(c.id, op.name, absent, call, c.opHistory.now())
	}
	if err != nil {
		return err
	}
	_, err = c.see(op, message, call)
	return err
}

// finishAll follows every accepted operation to its end, and then looks at it
// through every node.
func (c *caller) finishAll(ctx context.Context) error {
	for _, op := range c.operations.list() {
		if !op.done.Load() {
			if err := c.try(ctx, "wait for "+op.name, func(ctx context.Context, e *endpoint) error { return c.follow(ctx, e, op.action, &op, false) }); err != nil {
				return err
			}
		}
		for _, e := range c.endpoints {
			err := c.insist(ctx, "look at operation "+op.name, e, func(ctx context.Context, e *endpoint) error { return c.look(ctx, e, op) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}
