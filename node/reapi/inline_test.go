package reapi

import (
	"bytes"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func TestInliningIsBounded(t *testing.T) {
	blobs := &execBlobs{data: make(map[digest.Digest][]byte)}
	big, small := blobs.put(bytes.Repeat([]byte("x"), maxInlined-5)), blobs.put([]byte("12345"))
	gone := digest.Of(digest.SHA256, []byte("gone"))
	r := &repb.ActionResult{
		StdoutDigest: big.Proto(), StderrDigest: small.Proto(),
		OutputFiles: []*repb.OutputFile{{Path: "a", Digest: small.Proto()}, {Path: "b", Digest: gone.Proto()}},
	}
	in := inliner{blobs}
	got := in.result(t.Context(), digest.SHA256, r, hints{stdout: true, stderr: true, files: []string{"a", "b"}})
	if len(got.GetStdoutRaw()) != maxInlined-5 || string(got.GetStderrRaw()) != "12345" || len(got.GetOutputFiles()[0].GetContents()) != 0 {
		t.Errorf("inlined %d, %d, %d bytes", len(got.GetStdoutRaw()), len(got.GetStderrRaw()), len(got.GetOutputFiles()[0].GetContents()))
	}
	got = in.result(t.Context(), digest.SHA256, r, hints{files: []string{"a", "b", "c"}})
	if string(got.GetOutputFiles()[0].GetContents()) != "12345" || got.GetOutputFiles()[1].GetContents() != nil {
		t.Errorf("files: %v", got.GetOutputFiles())
	}
	if r.GetStdoutRaw() != nil || r.GetOutputFiles()[0].GetContents() != nil {
		t.Error("the result was changed")
	}
	if got := in.result(t.Context(), digest.SHA256, r, hints{}); got != r {
		t.Error("a copy without need")
	}
}
