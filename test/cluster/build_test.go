package cluster

import (
	"testing"

	"github.com/bgrid-node/bgrid-node/test/bazel"
)

func TestWhatABuildMayNotSay(t *testing.T) {
	const good = "WARNING: The following rc files are no longer being read, please transfer\nINFO: Analyzed 40 targets (52 packages loaded, 297 targets configured).\nINFO: Build completed successfully, 80 total actions\n"
	remote := bazel.Processes{bazel.Internal: 7, bazel.Remote: 5}
	for _, c := range []struct {
		rule   string
		result bazel.Result
		want   bool
	}{
		{"a good build", bazel.Result{Output: good, Processes: remote}, true},
		{"a failed one", bazel.Result{ExitCode: 1, Output: good, Processes: remote}, false},
		{"a command that ran elsewhere", bazel.Result{Output: good, Processes: bazel.Processes{"linux-sandbox": 1}}, false},
		{"a warning", bazel.Result{Output: good + "WARNING: Remote Cache: something\n", Processes: remote}, false},
		{"a code in a message", bazel.Result{Output: good + "x: io.grpc.StatusRuntimeException: UNAVAILABLE: io exception\n", Processes: remote}, false},
	} {
		if err := checkBuild(c.result); (err == nil) != c.want {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
}
