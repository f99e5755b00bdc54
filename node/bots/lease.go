package bots

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

const actionType = "type.googleapis.com/build.bazel.remote.execution.v2.Action"

// Keys of Lease.requirements.configs, which tell a bot of this project what the
// Action does not say. Others take no notice.
const (
	configAction  = "action"  // its digest, as store/digest writes it
	configAttempt = "attempt" // a number that grows with each attempt of a job
	configTimeout = "timeout" // in nanoseconds; left out: none
)

// newLease builds the message of a lease that the bot has yet to hear of. Its
// payload is the blob of the Action as it was uploaded, so that it hashes to the
// action's digest. Without that blob nobody can run the job: it ends, and nil is
// returned.
func (c *call) newLease(ctx context.Context, l sched.Lease) (*botspb.Lease, error) {
	action, err := c.o.Blobs.Get(ctx, l.Job.Action)
	if errors.Is(err, cas.ErrNotFound) {
		return nil, c.open.Complete(ctx, sched.Completion{JobID: l.Job.ID, Attempt: l.Attempt, Status: missing(l.Job.Action)})
	}
	if err != nil {
		return nil, fmt.Errorf("read action %s: %w", l.Job.Action, err)
	}
	return &botspb.Lease{
		Id:           l.Job.Instance + "/" + l.Job.ID,
		State:        botspb.LeaseState_ACTIVE,
		Payload:      &anypb.Any{TypeUrl: actionType, Value: action},
		Requirements: requirements(l),
	}, nil
}

func requirements(l sched.Lease) *botspb.Worker {
	w := &botspb.Worker{Configs: []*botspb.Worker_Config{
		{Key: configAction, Value: l.Job.Action.String()},
		{Key: configAttempt, Value: strconv.Itoa(int(l.Attempt))},
	}}
	if l.Timeout > 0 {
		w.Configs = append(w.Configs, &botspb.Worker_Config{Key: configTimeout, Value: strconv.FormatInt(int64(l.Timeout), 10)})
	}
	for _, list := range [2][]queue.Property{l.Job.Matched, l.Job.Carried} {
		for _, p := range list {
			w.Properties = append(w.Properties, &botspb.Worker_Property{Key: p.Name, Value: p.Value})
		}
	}
	return w
}

// missing is what an action that is gone ends with (REAPI, Execution.Execute).
func missing(d digest.Digest) *statuspb.Status {
	s := &statuspb.Status{
		Code:    int32(code.Code_FAILED_PRECONDITION),
		Message: fmt.Sprintf("the action %s is missing from the content-addressable storage", d),
	}
	detail, err := anypb.New(&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{
		{Type: "MISSING", Subject: "blobs/" + d.String()},
	}})
	if err == nil {
		s.Details = append(s.Details, detail)
	}
	return s
}

// metadataKey names the trailing metadata that carry an ExecuteOperationMetadata
// for each lease.
const metadataKey = "executeoperationmetadata-bin"

// maxTrailer bounds the trailing metadata in bytes: many clients take 8 KiB, and
// fail the call that has more.
const maxTrailer = 6 << 10

// sendMetadata tells of the leases in trailing metadata, of new ones first.
func sendMetadata(ctx context.Context, leases []lease) {
	trailer := metadata.MD{}
	room := maxTrailer
	for _, sent := range [2]bool{false, true} {
		for _, l := range leases {
			if l.sent != sent {
				continue
			}
			data, err := proto.Marshal(operationMetadata(l.Lease))
			if err != nil {
				continue
			}
			if room -= len(metadataKey) + len(data)*4/3 + 32; room < 0 { // as HTTP/2 counts it, in base64
				break
			}
			trailer.Append(metadataKey, string(data))
		}
	}
	_ = grpc.SetTrailer(ctx, trailer) // fails outside of a call only
}

func operationMetadata(l sched.Lease) *repb.ExecuteOperationMetadata {
	return &repb.ExecuteOperationMetadata{
		Stage:          repb.ExecutionStage_EXECUTING,
		ActionDigest:   l.Job.Action.Proto(),
		DigestFunction: l.Job.Action.Function.Proto(),
		PartialExecutionMetadata: &repb.ExecutedActionMetadata{
			Worker:               l.Job.BotID,
			QueuedTimestamp:      timestamppb.New(l.Job.QueuedAt),
			WorkerStartTimestamp: timestamppb.New(l.Job.StartedAt),
		},
	}
}
