package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// queued is an operation that waits for that reason.
func queued(t *testing.T, reason string) *client.Operation {
	t.Helper()
	why, err := structpb.NewStruct(map[string]any{"wait_reason": reason})
	if err != nil {
		t.Fatal(err)
	}
	detail, err := anypb.New(why)
	if err != nil {
		t.Fatal(err)
	}
	return &client.Operation{Name: "main/op", Metadata: &repb.ExecuteOperationMetadata{
		Stage:                    repb.ExecutionStage_QUEUED,
		PartialExecutionMetadata: &repb.ExecutedActionMetadata{AuxiliaryMetadata: []*anypb.Any{detail}},
	}}
}

func TestALongWaitIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		watch := stageWatcher(&out, false)
		told := func(after time.Duration, lines ...string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if want := strings.Join(lines, ""); out.String() != want {
				t.Errorf("told %q, want %q", out.String(), want)
			}
		}
		const one, two = "bgrid-node: main/op is queued: one\n", "bgrid-node: main/op is queued: two\n"
		watch(queued(t, "zero"))
		told(patience - time.Second)
		watch(queued(t, "one"))
		told(time.Second, one)
		told(time.Hour, one)
		watch(queued(t, "two"))
		told(tellEvery, one, two)
		watch(&client.Operation{Name: "main/op", Metadata: &repb.ExecuteOperationMetadata{Stage: repb.ExecutionStage_EXECUTING}})
		told(time.Hour, one, two)
		watch(queued(t, "one")) // it lost its worker
		told(patience, one, two, one)
		watch(&client.Operation{Name: "main/op", Done: true, Metadata: &repb.ExecuteOperationMetadata{}})
	})
}
