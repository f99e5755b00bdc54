package realclient

import (
	"context"
	"io"
	"runtime"
	"slices"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// recc makes the calls that recc makes for one compilation, and no other: it is in
// no package to install. It never asks for Capabilities, puts the platform into the
// Command only, names its outputs in output_files, and wants them inlined.
type recc struct {
	t     *testing.T
	ctx   context.Context //nolint:containedctx // carries the metadata of every call
	cas   repb.ContentAddressableStorageClient
	cache repb.ActionCacheClient
	exec  repb.ExecutionClient
	blobs map[string]*repb.BatchUpdateBlobsRequest_Request
}

func newRecc(t *testing.T, n *harness.Node) *recc {
	t.Helper()
	conn, err := n.Conn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	who, err := proto.Marshal(&repb.RequestMetadata{
		ToolDetails: &repb.ToolDetails{ToolName: "recc", ToolVersion: "1.2.29"}, ToolInvocationId: "8e3cd1f2-6f4d-4b43-a1a4-a35c7c3f1b0a",
	})
	if err != nil {
		t.Fatal(err)
	}
	return &recc{
		t:   t,
		ctx: metadata.AppendToOutgoingContext(t.Context(), "build.bazel.remote.execution.v2.requestmetadata-bin", string(who)),
		cas: repb.NewContentAddressableStorageClient(conn), cache: repb.NewActionCacheClient(conn), exec: repb.NewExecutionClient(conn),
		blobs: map[string]*repb.BatchUpdateBlobsRequest_Request{},
	}
}

func (r *recc) add(data []byte) *repb.Digest {
	d := digest.Of(digest.SHA256, data).Proto()
	r.blobs[d.Hash] = &repb.BatchUpdateBlobsRequest_Request{Digest: d, Data: data}
	return d
}

func (r *recc) addMessage(m proto.Message) *repb.Digest {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.add(data)
}

// action describes a compilation, below a directory that recc maps a prefix to.
func (r *recc) action(source string) *repb.Digest {
	isa := map[string]string{"amd64": "x86-64", "arm64": "aarch64"}[runtime.GOARCH]
	command := &repb.Command{
		Arguments:            []string{"/usr/bin/gcc", "-c", "hello.c", "-o", "hello.o"},
		EnvironmentVariables: []*repb.Command_EnvironmentVariable{{Name: "PATH", Value: "/usr/bin:/bin"}},
		OutputFiles:          []string{"hello.o"},
		WorkingDirectory:     "build/project",
		Platform:             &repb.Platform{Properties: []*repb.Platform_Property{{Name: "ISA", Value: isa}, {Name: "OSFamily", Value: "linux"}}},
	}
	dir := r.addMessage(&repb.Directory{Files: []*repb.FileNode{{Name: "hello.c", Digest: r.add([]byte(source))}}})
	for _, name := range []string{"project", "build"} {
		dir = r.addMessage(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: name, Digest: dir}}})
	}
	return r.addMessage(&repb.Action{CommandDigest: r.addMessage(command), InputRootDigest: dir})
}

func (r *recc) lookUp(action *repb.Digest) (*repb.ActionResult, error) {
	return r.cache.GetActionResult(r.ctx, &repb.GetActionResultRequest{
		InstanceName: harness.Instance, ActionDigest: action, InlineStdout: true, InlineStderr: true, InlineOutputFiles: []string{"hello.o"},
	})
}

// upload sends what the node lacks.
func (r *recc) upload() {
	r.t.Helper()
	ask := &repb.FindMissingBlobsRequest{InstanceName: harness.Instance}
	for _, b := range r.blobs {
		ask.BlobDigests = append(ask.BlobDigests, b.Digest)
	}
	missing, err := r.cas.FindMissingBlobs(r.ctx, ask)
	if err != nil || len(missing.MissingBlobDigests) == 0 {
		r.t.Fatalf("%v, %v", missing, err)
	}
	up := &repb.BatchUpdateBlobsRequest{InstanceName: harness.Instance}
	for _, d := range missing.MissingBlobDigests {
		up.Requests = append(up.Requests, r.blobs[d.Hash])
	}
	done, err := r.cas.BatchUpdateBlobs(r.ctx, up)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, b := range done.Responses {
		if b.Status.GetCode() != 0 {
			r.t.Fatal(b)
		}
	}
}

func (r *recc) execute(action *repb.Digest) *repb.ExecuteResponse {
	r.t.Helper()
	stream, err := r.exec.Execute(r.ctx, &repb.ExecuteRequest{
		InstanceName: harness.Instance, ActionDigest: action, InlineStdout: true, InlineStderr: true, InlineOutputFiles: []string{"hello.o"},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for {
		op, err := stream.Recv()
		if err != nil {
			r.t.Fatal(err)
		}
		if !op.Done {
			continue
		}
		response := new(repb.ExecuteResponse)
		if err := op.GetResponse().UnmarshalTo(response); err != nil {
			r.t.Fatal(err)
		}
		if _, err := stream.Recv(); err != io.EOF {
			r.t.Errorf("after the last message: %v", err)
		}
		return response
	}
}

func TestReccCompiles(t *testing.T) {
	n := harness.Start(t)
	r := newRecc(t, n)
	action := r.action("#warning as an example\nint answer(void) { return 42; }\n")
	if _, err := r.lookUp(action); status.Code(err) != codes.NotFound {
		t.Fatalf("before: %v", err)
	}
	r.upload()
	response := r.execute(action)
	if response.Status.GetCode() != 0 || response.CachedResult {
		t.Fatalf("%v", response)
	}
	checkCompiled(t, response.Result)
	cached, err := r.lookUp(action)
	if err != nil {
		t.Fatal(err)
	}
	checkCompiled(t, cached)
	if !r.execute(action).CachedResult {
		t.Error("executed again")
	}
	broken := r.action("int answer(void) { return }\n")
	r.upload()
	if failed := r.execute(broken); failed.Status.GetCode() != 0 || failed.Result.GetExitCode() == 0 || len(failed.Result.GetStderrRaw()) == 0 || len(failed.Result.GetOutputFiles()) != 0 {
		t.Errorf("what does not compile: %v", failed)
	}
}

func checkCompiled(t *testing.T, result *repb.ActionResult) {
	t.Helper()
	i := slices.IndexFunc(result.GetOutputFiles(), func(f *repb.OutputFile) bool { return f.Path == "hello.o" })
	if i < 0 || result.ExitCode != 0 {
		t.Fatalf("%v", result)
	}
	if f := result.OutputFiles[i]; int64(len(f.Contents)) != f.Digest.SizeBytes || string(f.Contents[:4]) != "\x7fELF" {
		t.Errorf("%d of %d bytes are inlined", len(f.Contents), f.Digest.SizeBytes)
	}
	if len(result.StderrRaw) == 0 || len(result.OutputSymlinks)+len(result.OutputDirectories) > 0 {
		t.Errorf("%v", result)
	}
}
