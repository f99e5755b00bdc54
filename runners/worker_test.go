package runners_test

import (
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

func TestActionReadsItsInputAndItsOutputIsStored(t *testing.T) {
	b := start(t, nil)
	root := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("in", "hello\n")}})
	r := b.result(sh("cat in; echo oops >&2; tr a-z A-Z <in >out; exit 3", "out"), root)
	if len(r.OutputFiles) != 1 || b.text(r.OutputFiles[0].Digest) != "HELLO\n" || r.OutputFiles[0].IsExecutable {
		t.Errorf("output files: %v", r.OutputFiles)
	}
	if b.text(r.StdoutDigest) != "hello\n" || b.text(r.StderrDigest) != "oops\n" || r.ExitCode != 3 {
		t.Errorf("stdout %q, stderr %q, exit code %d", b.text(r.StdoutDigest), b.text(r.StderrDigest), r.ExitCode)
	}
}
