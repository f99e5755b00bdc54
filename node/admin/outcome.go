package admin

import (
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc/codes"
)

// Outcomes of an action.
const (
	Succeeded = "succeeded" // exit code 0
	Failed    = "failed"    // it ran; another exit code
	TimedOut  = "timed out"
	Cancelled = "cancelled"
	Errored   = "error" // it could not be run
)

func outcomes() []string { return []string{Succeeded, Failed, TimedOut, Cancelled, Errored} }

// Outcome says in one word how an execution ended.
func Outcome(r *repb.ExecuteResponse) string {
	switch codes.Code(r.GetStatus().GetCode()) {
	case codes.OK:
		if r.GetResult().GetExitCode() == 0 {
			return Succeeded
		}
		return Failed
	case codes.DeadlineExceeded:
		return TimedOut
	case codes.Canceled:
		return Cancelled
	}
	return Errored
}
