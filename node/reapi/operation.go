package reapi

import (
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Type URLs of what an Operation carries.
const (
	typeExecuteResponse = "type.googleapis.com/build.bazel.remote.execution.v2.ExecuteResponse"
	typeMetadata        = "type.googleapis.com/build.bazel.remote.execution.v2.ExecuteOperationMetadata"
)

// WaitReasonKey is the key under which a queued operation says why it waits: in
// its ExecuteOperationMetadata, partial_execution_metadata.auxiliary_metadata
// holds one google.protobuf.Struct with this key and a sentence as its value.
const WaitReasonKey = "wait_reason"

// operationOf writes a state as clients see it (REAPI, ExecuteOperationMetadata).
// response is the serialised ExecuteResponse when the caller has it at hand,
// otherwise nil. Operation.error is never set: errors of an execution are in the
// response.
func operationOf(s *sched.State, response []byte) (*longrunningpb.Operation, error) {
	meta, err := proto.Marshal(metadataOf(s))
	if err != nil {
		return nil, err
	}
	op := &longrunningpb.Operation{
		Name:     s.Name,
		Done:     s.Done,
		Metadata: &anypb.Any{TypeUrl: typeMetadata, Value: meta},
	}
	if !s.Done {
		return op, nil
	}
	if response == nil {
		answer := s.Response
		if answer == nil {
			answer = new(repb.ExecuteResponse)
		}
		if response, err = proto.Marshal(answer); err != nil {
			return nil, err
		}
	}
	op.Result = &longrunningpb.Operation_Response{
		Response: &anypb.Any{TypeUrl: typeExecuteResponse, Value: response},
	}
	return op, nil
}

func metadataOf(s *sched.State) *repb.ExecuteOperationMetadata {
	m := &repb.ExecuteOperationMetadata{
		Stage:                    repb.ExecutionStage_Value(s.Stage),
		PartialExecutionMetadata: &repb.ExecutedActionMetadata{Worker: s.Worker},
		StdoutStreamName:         s.StdoutStream,
		StderrStreamName:         s.StderrStream,
	}
	if s.Done {
		m.Stage = repb.ExecutionStage_COMPLETED
	}
	partial := m.PartialExecutionMetadata
	if ran := s.Response.GetResult().GetExecutionMetadata(); ran != nil && !s.Response.GetCachedResult() {
		partial = proto.Clone(ran).(*repb.ExecutedActionMetadata)
		m.PartialExecutionMetadata = partial
	}
	if s.Job != nil {
		m.ActionDigest = s.Job.Action.Proto()
		m.DigestFunction = s.Job.Action.Function.Proto()
		fillTimes(partial, s.Job)
	}
	if s.WaitReason != "" && !s.Done {
		if reason := waitReason(s.WaitReason); reason != nil {
			partial.AuxiliaryMetadata = append(partial.AuxiliaryMetadata, reason)
		}
	}
	return m
}

// fillTimes sets what the job knows and the worker has not said.
func fillTimes(m *repb.ExecutedActionMetadata, j *queue.Job) {
	if m.QueuedTimestamp == nil {
		m.QueuedTimestamp = timestampOf(j.QueuedAt)
	}
	if j.Stage == queue.Queued {
		return
	}
	if m.WorkerStartTimestamp == nil {
		m.WorkerStartTimestamp = timestampOf(j.StartedAt)
	}
	if m.WorkerCompletedTimestamp == nil && j.Stage == queue.Completed {
		m.WorkerCompletedTimestamp = timestampOf(j.CompletedAt)
	}
}

func timestampOf(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() || t.UnixNano() == 0 {
		return nil
	}
	return timestamppb.New(t)
}

func waitReason(reason string) *anypb.Any {
	packed, err := anypb.New(&structpb.Struct{Fields: map[string]*structpb.Value{
		WaitReasonKey: structpb.NewStringValue(reason),
	}})
	if err != nil {
		return nil
	}
	return packed
}
