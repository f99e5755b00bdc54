package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

type sendFunc = func(*longrunningpb.Operation) error

// prepared is a job without inputs.
func prepared(t *testing.T, j Job) *Prepared {
	t.Helper()
	if j.Arguments == nil {
		j.Arguments = []string{"true"}
	}
	tree, err := NewTreeBuilder(digest.SHA256).Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := j.Prepare(digest.SHA256, tree)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestABrokenExecuteIsTakenUpAgain(t *testing.T) {
	queued := func(t *testing.T, name string) *longrunningpb.Operation {
		return running(t, name, repb.ExecutionStage_QUEUED)
	}
	for _, c := range []struct {
		name            string
		execute         func(t *testing.T, n int, send sendFunc) error
		wait            func(t *testing.T, n int, send sendFunc, name string) error
		executes, waits int
	}{
		{"by WaitExecution", func(t *testing.T, _ int, send sendFunc) error {
			return errors.Join(send(queued(t, "main/1")), errAway)
		}, func(t *testing.T, n int, send sendFunc, name string) error {
			if n < 3 {
				return errAway
			}
			return send(finished(t, name, exited(3)))
		}, 1, 3},
		{"by Execute when nothing is known of it", func(t *testing.T, n int, send sendFunc) error {
			if n == 1 {
				return errAway
			}
			return send(finished(t, "main/2", exited(3)))
		}, nil, 2, 0},
		{"by Execute when it was forgotten", func(t *testing.T, n int, send sendFunc) error {
			if n == 1 {
				return errors.Join(send(queued(t, "main/1")), errAway)
			}
			return send(finished(t, "main/2", exited(3)))
		}, nil, 2, 1},
		{"when the stream just ends", func(t *testing.T, _ int, send sendFunc) error {
			return send(queued(t, "main/1"))
		}, func(t *testing.T, n int, send sendFunc, name string) error {
			return send(finished(t, name, exited(3)))
		}, 1, 1},
		{"when a proxy gives it up", func(t *testing.T, _ int, send sendFunc) error {
			_ = send(queued(t, "main/1"))
			return status.Error(codes.Internal, "stream terminated by RST_STREAM with error code: NO_ERROR")
		}, func(t *testing.T, n int, send sendFunc, name string) error {
			return send(finished(t, name, exited(3)))
		}, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{caps: capsWith(0), execute: func(n int, send sendFunc, _ *repb.ExecuteRequest) error {
					return lastError(c.execute(t, n, send))
				}}
				if c.wait != nil {
					f.wait = func(n int, send sendFunc, name string) error { return c.wait(t, n, send, name) }
				}
				cl := serve(t, f, Options{})
				op, err := cl.Execute(t.Context(), Execution{Action: f.put([]byte("action"))}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if op.Response.Result.ExitCode != 3 || f.count("Execute") != c.executes || f.count("WaitExecution") != c.waits {
					t.Errorf("%d Execute, %d WaitExecution; want %d, %d", f.count("Execute"), f.count("WaitExecution"), c.executes, c.waits)
				}
			})
		})
	}
}

// lastError takes errors.Join apart: gRPC sends one status.
func lastError(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()[len(joined.Unwrap())-1]
	}
	return err
}

func TestAnUnknownOperationIsNotFound(t *testing.T) {
	f := &fake{caps: capsWith(0)}
	c := serve(t, f, Options{})
	if _, err := c.Wait(t.Context(), "main/gone", nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("have %v", err)
	}
	if n := f.count("WaitExecution"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// A server that has lost an input says which; it gets it again, once more.
func TestRunBringsLostInputsAgain(t *testing.T) {
	for name, inResponse := range map[string]bool{"call refused": false, "operation failed": true} {
		t.Run(name, func(t *testing.T) {
			p := prepared(t, Job{})
			lost := p.Sources[len(p.Sources)-2].Digest // the Command
			f := &fake{caps: capsWith(0)}
			f.execute = func(n int, send sendFunc, _ *repb.ExecuteRequest) error {
				if n > 1 {
					if _, ok := f.get(lost); !ok {
						t.Error("executed again before the input was there")
					}
					return send(finished(t, "main/2", exited(0)))
				}
				f.mu.Lock()
				delete(f.blobs, lost)
				f.mu.Unlock()
				st, err := status.New(codes.FailedPrecondition, "missing").WithDetails(&errdetails.PreconditionFailure{
					Violations: []*errdetails.PreconditionFailure_Violation{{Type: "MISSING", Subject: "blobs/" + lost.String()}},
				})
				if err != nil {
					return err
				}
				if inResponse {
					return send(finished(t, "main/1", &repb.ExecuteResponse{Status: st.Proto()}))
				}
				return st.Err()
			}
			c := serve(t, f, Options{})
			op, err := c.Run(t.Context(), p, nil, nil)
			if err != nil || op.Outcome() != nil {
				t.Fatal(err, op.Outcome())
			}
		})
	}
}

func TestRunCancelsItsOperationWhenInterrupted(t *testing.T) {
	for name, before := range map[string]time.Duration{"while it is queued": 0, "before it has a name": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, interrupt := context.WithCancel(t.Context())
				f := &fake{caps: capsWith(0), execute: func(_ int, send sendFunc, _ *repb.ExecuteRequest) error {
					if before > 0 {
						interrupt()
					}
					time.Sleep(before)
					if err := send(running(t, "main/7", repb.ExecutionStage_QUEUED)); err != nil {
						return err
					}
					time.Sleep(time.Minute)
					return nil
				}}
				c := serve(t, f, Options{})
				_, err := c.Run(ctx, prepared(t, Job{}), func(*Operation) { interrupt() }, nil)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("have %v", err)
				}
				if diff := cmp.Diff([]string{"main/7"}, f.cancelled); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestRunSaysWhenTheServerOnlyStores(t *testing.T) {
	caps := capsWith(0)
	caps.ExecutionCapabilities.ExecEnabled = false
	c := serve(t, &fake{caps: caps}, Options{})
	if _, err := c.Run(t.Context(), prepared(t, Job{}), nil, nil); err == nil || !strings.Contains(err.Error(), "does not execute") {
		t.Errorf("have %v", err)
	}
}

func TestEqualJobsAreEqualActions(t *testing.T) {
	a := prepared(t, Job{
		Env: map[string]string{"B": "2", "A": "1"}, Outputs: []string{"z", "a/../b", "z"}, WorkingDir: "w/",
		Platform: map[string][]string{"runner": {"x", "a"}, "ISA": {"i"}},
	})
	b := prepared(t, Job{
		Env: map[string]string{"A": "1", "B": "2"}, Outputs: []string{"b", "./z"}, WorkingDir: "./w",
		Platform: map[string][]string{"ISA": {"i"}, "runner": {"a", "x"}},
	})
	if a.Action != b.Action {
		t.Errorf("%s and %s", a.Action, b.Action)
	}
	for name, j := range map[string]Job{
		"skip lookup": {SkipLookup: true}, "priority": {Priority: 3},
	} {
		if prepared(t, j).Action != prepared(t, Job{}).Action {
			t.Errorf("%s changes the action", name)
		}
	}
	for name, j := range map[string]Job{
		"time-out": {Timeout: time.Second}, "no cache": {NoCache: true}, "outputs": {Outputs: []string{"x"}},
	} {
		if prepared(t, j).Action == prepared(t, Job{}).Action {
			t.Errorf("%s does not change the action", name)
		}
	}
	for _, j := range []Job{
		{}, {WorkingDir: "../x"}, {WorkingDir: "/x"}, {Outputs: []string{""}}, {Outputs: []string{"/x"}},
		{WorkingDir: "a", Outputs: []string{"../../x"}},
	} {
		if len(j.WorkingDir)+len(j.Outputs) > 0 {
			j.Arguments = []string{"true"}
		}
		if _, err := j.Prepare(digest.SHA256, &Tree{Root: digest.SHA256.Empty()}); err == nil {
			t.Errorf("%+v was prepared", j)
		}
	}
}

func TestAWaitReasonIsReadAndNotRequired(t *testing.T) {
	reason, err := structpb.NewStruct(map[string]any{waitReasonKey: "no worker"})
	if err != nil {
		t.Fatal(err)
	}
	meta := &repb.ExecuteOperationMetadata{Stage: repb.ExecutionStage_QUEUED, PartialExecutionMetadata: &repb.ExecutedActionMetadata{}}
	op := &longrunningpb.Operation{Name: "main/1", Metadata: pack1(t, meta)}
	have, err := operationOf(op)
	if err != nil || have.WaitReason() != "" || have.Stage() != "queued" {
		t.Errorf("%q, %q, %v", have.WaitReason(), have.Stage(), err)
	}
	meta.PartialExecutionMetadata.AuxiliaryMetadata = append(meta.PartialExecutionMetadata.AuxiliaryMetadata, pack1(t, meta), pack1(t, reason))
	op.Metadata = pack1(t, meta)
	if have, err = operationOf(op); err != nil || have.Summary().WaitReason != "no worker" {
		t.Errorf("%+v, %v", have.Summary(), err)
	}
}
