package reapi

import (
	"fmt"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

func (g *grid) update(t testing.TB, d digest.Digest, r *repb.ActionResult) (*repb.ActionResult, error) {
	t.Helper()
	return g.cache.UpdateActionResult(t.Context(), &repb.UpdateActionResultRequest{InstanceName: "main", ActionDigest: d.Proto(), ActionResult: r})
}

func (g *grid) lookup(t testing.TB, d digest.Digest) (*repb.ActionResult, error) {
	t.Helper()
	return g.cache.GetActionResult(t.Context(), &repb.GetActionResultRequest{InstanceName: "main", ActionDigest: d.Proto()})
}

func TestAResultIsServedWhileItIsComplete(t *testing.T) {
	g := newGrid(t)
	action := digest.Of(digest.SHA256, []byte("action"))
	if _, err := g.lookup(t, action); status.Code(err) != codes.NotFound {
		t.Errorf("before: %v", err)
	}
	out := []byte("output")
	leaf := digest.Of(digest.SHA256, []byte("leaf"))
	tree := g.message(t, &repb.Tree{Root: &repb.Directory{Files: []*repb.FileNode{{Name: "leaf", Digest: leaf.Proto()}}}})
	want := &repb.ActionResult{
		OutputFiles:       []*repb.OutputFile{{Path: "a/b", Digest: digest.Of(digest.SHA256, out).Proto(), IsExecutable: true}},
		OutputDirectories: []*repb.OutputDirectory{{Path: "", TreeDigest: tree.Proto()}},
		OutputSymlinks:    []*repb.OutputSymlink{{Path: "../up", Target: "/abs"}},
		StdoutRaw:         []byte("said"),
	}
	echo, err := g.update(t, action, want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, echo, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	for _, missing := range [][]byte{out, []byte("leaf")} {
		if _, err := g.lookup(t, action); status.Code(err) != codes.NotFound {
			t.Errorf("without %s: %v", missing, err)
		}
		g.put(t, missing)
	}
	for range 2 {
		got, err := g.lookup(t, action)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	inlined, err := g.cache.GetActionResult(t.Context(), &repb.GetActionResultRequest{InstanceName: "main", ActionDigest: action.Proto(),
		DigestFunction: repb.DigestFunction_SHA256, InlineOutputFiles: []string{"a/b"}})
	if err != nil || string(inlined.GetOutputFiles()[0].GetContents()) != "output" {
		t.Errorf("inlined: %v, %v", inlined, err)
	}
	again := proto.Clone(want).(*repb.ActionResult)
	again.StdoutRaw = []byte("said otherwise")
	if _, err := g.update(t, action, again); err != nil {
		t.Fatal(err)
	}
	if got, err := g.lookup(t, action); err != nil || string(got.GetStdoutRaw()) != "said otherwise" {
		t.Errorf("after an update: %v, %v", got, err)
	}
}

func TestAFailedActionIsTakenAndNotStored(t *testing.T) {
	g := newGrid(t)
	action := digest.Of(digest.SHA256, []byte("action"))
	echo, err := g.update(t, action, &repb.ActionResult{ExitCode: 1, StderrRaw: []byte("no")})
	if err != nil || echo.GetExitCode() != 1 || string(echo.GetStderrRaw()) != "no" {
		t.Errorf("got %v, %v", echo, err)
	}
	if _, err := g.lookup(t, action); status.Code(err) != codes.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestALargeResultIsStoredAsABlob(t *testing.T) {
	g := newGrid(t)
	action := digest.Of(digest.SHA256, []byte("action"))
	d := g.put(t, []byte("same"))[0].Proto()
	large := &repb.ActionResult{}
	for i := range 5000 {
		large.OutputFiles = append(large.OutputFiles, &repb.OutputFile{Path: fmt.Sprint("out/", i), Digest: d})
	}
	if _, err := g.update(t, action, large); err != nil {
		t.Fatal(err)
	}
	got, err := g.lookup(t, action)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(large, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestUpdateRefusesMalformedResults(t *testing.T) {
	g := newGrid(t)
	action := digest.Of(digest.SHA256, []byte("action"))
	good, bad := action.Proto(), &repb.Digest{Hash: "zz", SizeBytes: 1}
	for field, r := range map[string]*repb.ActionResult{
		"action_result: is not set":                         nil,
		"action_result.output_files[1].path: is empty":      {OutputFiles: []*repb.OutputFile{{Path: "a", Digest: good}, {Digest: good}}},
		"action_result.output_files[0].path: \"/a\" must":   {OutputFiles: []*repb.OutputFile{{Path: "/a", Digest: good}}},
		"action_result.output_files[0].digest":              {OutputFiles: []*repb.OutputFile{{Path: "a"}}},
		"action_result.output_directories[0].tree_digest":   {OutputDirectories: []*repb.OutputDirectory{{Path: "a"}}},
		"action_result.output_directories[0].path":          {OutputDirectories: []*repb.OutputDirectory{{Path: "/", TreeDigest: good}}},
		"output_directories[0].root_directory_digest":       {OutputDirectories: []*repb.OutputDirectory{{RootDirectoryDigest: bad}}},
		"action_result.output_symlinks[0].target: is empty": {OutputSymlinks: []*repb.OutputSymlink{{Path: "a"}}},
		"action_result.output_symlinks[0].path: is empty":   {OutputSymlinks: []*repb.OutputSymlink{nil}},
		"action_result.output_file_symlinks[0].path":        {OutputFileSymlinks: []*repb.OutputSymlink{{Target: "a"}}},
		"action_result.stdout_digest":                       {StdoutDigest: bad},
		"action_result.stderr_digest":                       {StderrDigest: bad},
	} {
		_, err := g.update(t, action, r)
		wantInvalid(t, err, field)
	}
	_, err := g.cache.UpdateActionResult(t.Context(), &repb.UpdateActionResultRequest{InstanceName: "main", ActionResult: &repb.ActionResult{}})
	wantInvalid(t, err, "action_digest")
	_, err = g.cache.GetActionResult(t.Context(), &repb.GetActionResultRequest{InstanceName: "main", ActionDigest: good, DigestFunction: repb.DigestFunction_MD5})
	wantInvalid(t, err, "MD5 is not served here; SHA256 is")
}

func TestAnUpdateThatIsNotDurableIsNotAcknowledged(t *testing.T) {
	for want, cause := range map[codes.Code]error{codes.Unavailable: raftfsm.ErrNotProposed, codes.Internal: nil} {
		g := newGrid(t, func(o *Options) { o.Proposer = noProposer{cause} })
		if _, err := g.update(t, digest.Of(digest.SHA256, []byte("action")), &repb.ActionResult{}); status.Code(err) != want {
			t.Errorf("%v: got %v", cause, err)
		}
		if (want == codes.Internal) != strings.Contains(g.logged.String(), "UpdateActionResult") {
			t.Errorf("logged %q", g.logged)
		}
	}
}

// fullCache is an action cache on a full disk.
type fullCache struct{ cachedResults }

func (fullCache) Room() error { return &cas.FullError{Reason: "the disk is full"} }

func TestAnUpdateOnAFullDiskProposesNothing(t *testing.T) {
	a := &actionCache{instances: instances{name: "main"}, results: fullCache{}, proposer: noProposer{}}
	_, err := a.UpdateActionResult(t.Context(), &repb.UpdateActionResultRequest{
		InstanceName: "main", ActionDigest: digest.Of(digest.SHA256, nil).Proto(), ActionResult: &repb.ActionResult{},
	})
	if status.Code(err) != codes.ResourceExhausted {
		t.Error(err)
	}
}
