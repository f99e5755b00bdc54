package reapi

import (
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

func TestGetOperationTellsWhoAsked(t *testing.T) {
	s := newExecServer(t)
	var trailer metadata.MD
	op, err := s.operations.GetOperation(t.Context(), &longrunningpb.GetOperationRequest{Name: "main/op"}, grpc.Trailer(&trailer))
	if err != nil {
		t.Fatal(err)
	}
	if op.GetName() != "main/op" || op.GetDone() || metadataIn(t, op).GetStage() != repb.ExecutionStage_QUEUED {
		t.Errorf("got %v", op)
	}
	if got := trailer.Get("build.bazel.remote.execution.v2.requestmetadata-bin"); len(got) != 1 || got[0] != "request" {
		t.Errorf("request metadata %q", got)
	}
	if got := trailer.Get(clientIdentityKey); len(got) != 1 || got[0] != "\n\x0a10.0.0.1:5" {
		t.Errorf("client identity %q", got)
	}
}

func TestClientIdentity(t *testing.T) {
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("x-request-actor", "a", "x-request-subject", "s & s", "x-request-workflow", "w"))
	client := clientOf(ctx)
	if got, want := string(clientIdentity(client)), "\n\x01a\x12\x05s & s\x1a\x01w"; got != want {
		t.Errorf("identity %q of %q, want %q", got, client, want)
	}
	if clientIdentity("") != nil {
		t.Error("an identity of nobody")
	}
}

func TestOperationErrors(t *testing.T) {
	s := newExecServer(t)
	ctx := t.Context()
	for _, c := range []struct {
		method, name string
		code         codes.Code
		call         func(name string) error
	}{
		{"Get", "main/unknown", codes.NotFound, func(n string) error {
			_, err := s.operations.GetOperation(ctx, &longrunningpb.GetOperationRequest{Name: n})
			return err
		}},
		{"Cancel", "main/unknown", codes.InvalidArgument, func(n string) error {
			_, err := s.operations.CancelOperation(ctx, &longrunningpb.CancelOperationRequest{Name: n})
			return err
		}},
		{"Delete", "main/unknown", codes.NotFound, func(n string) error {
			_, err := s.operations.DeleteOperation(ctx, &longrunningpb.DeleteOperationRequest{Name: n})
			return err
		}},
		{"Wait", "main/unknown", codes.NotFound, func(n string) error {
			_, err := s.operations.WaitOperation(ctx, &longrunningpb.WaitOperationRequest{Name: n})
			return err
		}},
	} {
		t.Run(c.method, func(t *testing.T) {
			err := c.call(c.name)
			if status.Code(err) != c.code || status.Convert(err).Message() != "Operation name does not exist: [unknown]" {
				t.Errorf("unknown: %v", err)
			}
			for _, bad := range []string{"", "4d3f", "nope/4d3f", "/4d3f"} {
				if err := c.call(bad); status.Code(err) != codes.InvalidArgument {
					t.Errorf("%q: %v", bad, err)
				}
			}
		})
	}
}

func TestCancelAndDelete(t *testing.T) {
	s := newExecServer(t)
	for range 2 {
		if _, err := s.operations.CancelOperation(t.Context(), &longrunningpb.CancelOperationRequest{Name: "main/op"}); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.operations.DeleteOperation(t.Context(), &longrunningpb.DeleteOperationRequest{Name: "main/op"}); err != nil {
		t.Error(err)
	}
	s.scheduler.failed = sched.ErrNotDone
	_, err := s.operations.DeleteOperation(t.Context(), &longrunningpb.DeleteOperationRequest{Name: "main/op"})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("delete of an unfinished one: %v", err)
	}
}

func TestListOperations(t *testing.T) {
	s := newExecServer(t)
	page, err := s.operations.ListOperations(t.Context(), &longrunningpb.ListOperationsRequest{Name: "main"})
	if err != nil || len(page.GetOperations()) != 1 || page.GetNextPageToken() != "after 1000" {
		t.Fatalf("got %v, %v", page, err)
	}
	if got := s.scheduler.listed.String(); !strings.Contains(strings.ToLower(got), "stage != completed") {
		t.Errorf("the default filter is %q", got)
	}
	for name, c := range map[string]struct {
		req     *longrunningpb.ListOperationsRequest
		message string
	}{
		"no instance":    {&longrunningpb.ListOperationsRequest{}, "Invalid instance name: []"},
		"a bad filter":   {&longrunningpb.ListOperationsRequest{Name: "main", Filter: "stage ="}, "filter"},
		"too many":       {&longrunningpb.ListOperationsRequest{Name: "main", PageSize: 1001}, "The maximum page size is 1000."},
		"a negative one": {&longrunningpb.ListOperationsRequest{Name: "main", PageSize: -1}, "page_size"},
		"a bad token":    {&longrunningpb.ListOperationsRequest{Name: "main", PageToken: "bad"}, "page_token"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.operations.ListOperations(t.Context(), c.req)
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c.message) {
				t.Errorf("got %v, want %q", err, c.message)
			}
		})
	}
}

func TestWaitOperation(t *testing.T) {
	s := newExecServer(t)
	wait := func(timeout *durationpb.Duration) (*longrunningpb.Operation, error) {
		return s.operations.WaitOperation(t.Context(), &longrunningpb.WaitOperationRequest{Name: "main/op", Timeout: timeout})
	}
	s.states <- &sched.State{Name: "main/op", Stage: queue.Executing}
	if op, err := wait(durationpb.New(time.Millisecond)); err != nil || op.GetDone() {
		t.Errorf("after the timeout: %v, %v", op, err)
	}
	s.states <- &sched.State{Name: "main/op", Stage: queue.Queued}
	s.finish()
	if op, err := wait(nil); err != nil || !op.GetDone() {
		t.Errorf("without a timeout: %v, %v", op, err)
	}
	if _, err := wait(&durationpb.Duration{Seconds: -1}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a negative timeout: %v", err)
	}
	s.states <- &sched.State{Name: "main/op", Stage: queue.Queued}
	s.stop()
	if _, err := wait(nil); status.Code(err) != codes.Unavailable {
		t.Errorf("when the server stops: %v", err)
	}
}
