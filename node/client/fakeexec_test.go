package client

import (
	"context"
	"testing"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

func (f *fake) Execute(req *repb.ExecuteRequest, s repb.Execution_ExecuteServer) error {
	if f.execute == nil {
		return status.Error(codes.Unimplemented, "does not execute")
	}
	return f.execute(f.count("Execute"), s.Send, req)
}

func (f *fake) WaitExecution(req *repb.WaitExecutionRequest, s repb.Execution_WaitExecutionServer) error {
	if f.wait == nil {
		return status.Error(codes.NotFound, "no such operation")
	}
	return f.wait(f.count("WaitExecution"), s.Send, req.Name)
}

func (f *fake) CancelOperation(_ context.Context, req *longrunningpb.CancelOperationRequest) (*emptypb.Empty, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancelled = append(f.cancelled, req.Name)
	return &emptypb.Empty{}, nil
}

func pack1(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	packed, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func running(t *testing.T, name string, stage repb.ExecutionStage_Value) *longrunningpb.Operation {
	return &longrunningpb.Operation{Name: name, Metadata: pack1(t, &repb.ExecuteOperationMetadata{Stage: stage})}
}

func finished(t *testing.T, name string, r *repb.ExecuteResponse) *longrunningpb.Operation {
	return &longrunningpb.Operation{
		Name: name, Done: true, Metadata: pack1(t, &repb.ExecuteOperationMetadata{Stage: repb.ExecutionStage_COMPLETED}),
		Result: &longrunningpb.Operation_Response{Response: pack1(t, r)},
	}
}

func exited(code int32) *repb.ExecuteResponse {
	return &repb.ExecuteResponse{Result: &repb.ActionResult{ExitCode: code}}
}
