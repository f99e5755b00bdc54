package cluster

import (
	"fmt"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/anishathalye/porcupine"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// sight is what somebody was told of an operation.
type sight struct {
	stage  repb.ExecutionStage_Value
	result string // of a completed one
}

// absent is what NOT_FOUND says.
var absent = sight{stage: -1}

func (s sight) String() string {
	if s == absent {
		return "NOT_FOUND"
	}
	return s.stage.String() + " " + s.result
}

// operationModel is an operation as a state that moves forward only: once it was
// seen it is found, no stage follows a later one, and the result of a completed
// one stays.
func operationModel() porcupine.Model {
	return porcupine.Model{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			return partition(all, func(in any) string { return in.(string) })
		},
		Init: func() any { return absent },
		Step: func(state, _, out any) (bool, any) {
			before, now := state.(sight), out.(sight)
			if now.stage < before.stage || (before.stage == repb.ExecutionStage_COMPLETED && now != before) {
				return false, state
			}
			return true, now
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%s: %s", in, out) },
	}
}

// sightOf reads what a node says of an operation.
func sightOf(op *longrunningpb.Operation) (sight, *repb.ExecuteResponse, error) {
	if !op.GetDone() {
		metadata := new(repb.ExecuteOperationMetadata)
		if err := op.GetMetadata().UnmarshalTo(metadata); err != nil {
			return absent, nil, fmt.Errorf("read the metadata of %s: %w", op.GetName(), err)
		}
		return sight{stage: metadata.GetStage()}, nil, nil
	}
	response := new(repb.ExecuteResponse)
	if err := op.GetResponse().UnmarshalTo(response); err != nil {
		return absent, nil, fmt.Errorf("read the response of %s: %w", op.GetName(), err)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(response)
	if err != nil {
		return absent, nil, err
	}
	return sight{repb.ExecutionStage_COMPLETED, digest.Of(digest.SHA256, data).Hex()[:16]}, response, nil
}
