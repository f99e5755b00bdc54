package reapi

import (
	"fmt"
	"strings"
	"testing"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// action stores an action and what it needs.
func (g *grid) action(t testing.TB, name string, root *repb.Directory) digest.Digest {
	t.Helper()
	command := g.message(t, &repb.Command{Arguments: []string{"cc", name}})
	return g.message(t, &repb.Action{CommandDigest: command.Proto(), InputRootDigest: g.message(t, root).Proto()})
}

func (g *grid) execute(t testing.TB, d digest.Digest) ([]*longrunningpb.Operation, error) {
	t.Helper()
	stream, err := g.execution.Execute(t.Context(), &repb.ExecuteRequest{InstanceName: "main", ActionDigest: d.Proto()})
	if err != nil {
		return nil, err
	}
	return drain(stream)
}

func TestAnUpdatedResultAnswersExecute(t *testing.T) {
	g := newGrid(t)
	d := g.action(t, "a.c", &repb.Directory{})
	want := &repb.ActionResult{StdoutRaw: []byte("said")}
	if _, err := g.update(t, d, want); err != nil {
		t.Fatal(err)
	}
	ops, err := g.execute(t, d)
	if err != nil || len(ops) != 1 || !ops[0].GetDone() {
		t.Fatalf("got %v, %v", ops, err)
	}
	response := responseIn(t, ops[0])
	if diff := cmp.Diff(want, response.GetResult(), protocmp.Transform()); diff != "" || !response.GetCachedResult() {
		t.Errorf("cached %t: %s", response.GetCachedResult(), diff)
	}
	op, err := g.operations.GetOperation(t.Context(), &longrunningpb.GetOperationRequest{Name: ops[0].GetName()})
	if err != nil || !op.GetDone() {
		t.Errorf("the operation: %v, %v", op, err)
	}
}

func TestAnActionRunsThroughTheQueue(t *testing.T) {
	g := newGrid(t)
	d := g.action(t, "b.c", &repb.Directory{})
	session, err := g.scheduler.OpenSession(t.Context(), sched.Bot{Instance: "main", BotID: "bot", Capacity: 1,
		Properties: []queue.Property{{Name: "runner", Value: "hosttools"}}})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			e, err := session.Next(t.Context())
			if err != nil {
				return
			}
			if e.Assigned != nil {
				_ = session.Complete(t.Context(), sched.Completion{JobID: e.Assigned.Job.ID, Attempt: e.Assigned.Attempt,
					Result: &repb.ActionResult{StdoutRaw: []byte("ran")}})
			}
		}
	}()
	ops, err := g.execute(t, d)
	if err != nil || len(ops) == 0 {
		t.Fatalf("got %v, %v", ops, err)
	}
	last := ops[len(ops)-1]
	if response := responseIn(t, last); string(response.GetResult().GetStdoutRaw()) != "ran" || response.GetCachedResult() {
		t.Errorf("got %v", response)
	}
	if got, err := g.lookup(t, d); err != nil || string(got.GetStdoutRaw()) != "ran" {
		t.Errorf("the action cache: %v, %v", got, err)
	}
	if ops, err = g.execute(t, d); err != nil || len(ops) != 1 || !responseIn(t, ops[0]).GetCachedResult() {
		t.Errorf("again: %v, %v", ops, err)
	}
}

func TestManyMissingInputsAreAllNamed(t *testing.T) {
	g := newGrid(t)
	root := &repb.Directory{}
	for i := range 300 {
		root.Files = append(root.Files, &repb.FileNode{Name: fmt.Sprintf("%03d", i), Digest: digest.Of(digest.SHA256, fmt.Append(nil, i)).Proto()})
	}
	ops, err := g.execute(t, g.action(t, "c.c", root))
	if err != nil || len(ops) != 1 || !ops[0].GetDone() {
		t.Fatalf("got %d messages, %v", len(ops), err)
	}
	refused := status.FromProto(responseIn(t, ops[0]).GetStatus()).Err()
	if f := detailOf[*errdetails.PreconditionFailure](t, refused); status.Code(refused) != codes.FailedPrecondition || len(f.GetViolations()) != 300 {
		t.Errorf("%v with %d violations", status.Code(refused), len(f.GetViolations()))
	}
}

func TestWhatAClientSentIsCutInErrors(t *testing.T) {
	g := newGrid(t)
	command := g.message(t, &repb.Command{Arguments: []string{"cc"}, Platform: platformOf("flavour", strings.Repeat("x", 100_000))})
	d := g.message(t, &repb.Action{CommandDigest: command.Proto(), InputRootDigest: digest.SHA256.Empty().Proto()})
	_, err := g.execute(t, d)
	if message := status.Convert(err).Message(); status.Code(err) != codes.FailedPrecondition || len(message) > 1100 ||
		!strings.HasPrefix(message, "Unregistered platform property [flavour=") {
		t.Errorf("%d bytes: %.200s", len(message), err)
	}
}

func TestCapabilitiesSayWhatIsServed(t *testing.T) {
	g := newGrid(t, func(o *Options) { o.MaxBlobBytes = 1 << 30 })
	got, err := g.capabilities.GetCapabilities(t.Context(), &repb.GetCapabilitiesRequest{InstanceName: "main"})
	if err != nil {
		t.Fatal(err)
	}
	c, e := got.GetCacheCapabilities(), got.GetExecutionCapabilities()
	if c.GetMaxBatchTotalSizeBytes() != 4193280 || c.GetMaxCasBlobSizeBytes() != 1<<30 || !c.GetActionCacheUpdateCapabilities().GetUpdateEnabled() ||
		!e.GetExecEnabled() || e.GetDigestFunction() != repb.DigestFunction_SHA256 || got.GetLowApiVersion().GetMajor() != 2 {
		t.Errorf("got %v", got)
	}
	for _, v := range repb.DigestFunction_Value_value {
		fn := repb.DigestFunction_Value(v)
		_, err := g.cas.FindMissingBlobs(t.Context(), &repb.FindMissingBlobsRequest{InstanceName: "main", DigestFunction: fn})
		advertised := strings.Contains(fmt.Sprint(c.GetDigestFunctions(), e.GetDigestFunctions()), fn.String()) || fn == repb.DigestFunction_UNKNOWN
		if (err == nil) != advertised {
			t.Errorf("%v: advertised %t, %v", fn, advertised, err)
		}
	}
	if c.GetSplitBlobSupport() || c.GetSpliceBlobSupport() || len(c.GetSupportedCompressors()) > 0 || len(c.GetSupportedBatchUpdateCompressors()) > 0 {
		t.Error("something is advertised that is not served")
	}
	_, err = g.capabilities.GetCapabilities(t.Context(), &repb.GetCapabilitiesRequest{})
	wantInvalid(t, err, "Invalid instance name: []")
}

func TestOptionsSayWhatIsMissing(t *testing.T) {
	if err := Register(nil, Options{}); err == nil || !strings.Contains(err.Error(), "must be set") {
		t.Errorf("got %v", err)
	}
}
