package client

import (
	"fmt"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// Operation is an execution as the server last told of it.
type Operation struct {
	Name     string
	Done     bool
	Metadata *repb.ExecuteOperationMetadata // never nil
	Response *repb.ExecuteResponse          // only when Done
	Raw      *longrunningpb.Operation
}

// waitReasonKey is where a bgrid-node says why an operation is still queued: in a
// Struct among partial_execution_metadata.auxiliary_metadata.
const waitReasonKey = "wait_reason"

// WaitReason returns why the operation is not running yet, or "" when the server
// does not say.
func (o *Operation) WaitReason() string {
	for _, packed := range o.Metadata.GetPartialExecutionMetadata().GetAuxiliaryMetadata() {
		fields := &structpb.Struct{}
		if packed.MessageIs(fields) && packed.UnmarshalTo(fields) == nil {
			if reason := fields.Fields[waitReasonKey].GetStringValue(); reason != "" {
				return reason
			}
		}
	}
	return ""
}

// Stage returns the stage's name in lower case.
func (o *Operation) Stage() string {
	if o.Done {
		return "completed"
	}
	switch o.Metadata.GetStage() {
	case repb.ExecutionStage_CACHE_CHECK:
		return "cache check"
	case repb.ExecutionStage_QUEUED:
		return "queued"
	case repb.ExecutionStage_EXECUTING:
		return "executing"
	case repb.ExecutionStage_COMPLETED:
		return "completed"
	}
	return "unknown"
}

// operationOf unpacks what the server sent. An operation that ended in an error
// instead of a response gets a response with that status.
func operationOf(raw *longrunningpb.Operation) (*Operation, error) {
	o := &Operation{Name: raw.GetName(), Done: raw.GetDone(), Metadata: &repb.ExecuteOperationMetadata{}, Raw: raw}
	if m := raw.GetMetadata(); m.MessageIs(o.Metadata) {
		if err := m.UnmarshalTo(o.Metadata); err != nil {
			return nil, fmt.Errorf("read operation %s: its metadata: %w", o.Name, err)
		}
	}
	if !o.Done {
		return o, nil
	}
	o.Response = &repb.ExecuteResponse{}
	if e := raw.GetError(); e != nil {
		o.Response.Status = e
		return o, nil
	}
	if err := raw.GetResponse().UnmarshalTo(o.Response); err != nil {
		return nil, fmt.Errorf("read operation %s: its response: %w", o.Name, err)
	}
	return o, nil
}

// Outcome returns nil when the action ran, whatever its exit code, and otherwise
// the status that it ended with.
func (o *Operation) Outcome() error {
	s := status.FromProto(o.Response.GetStatus())
	if s.Err() == nil {
		return nil
	}
	return &remoteError{status: s}
}
