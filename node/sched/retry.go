package sched

import (
	"fmt"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// maxReason bounds a line of a job's history, in bytes.
const maxReason = 500

func statusCode(c Completion) code.Code { return code.Code(c.Status.GetCode()) }

// retryable tells whether another attempt may help, and why this one failed.
func retryable(c Completion) (why string, again bool) {
	switch k := statusCode(c); {
	case k == code.Code_OK && c.Result == nil:
		return "INTERNAL: the worker reported success without a result", true
	case k == code.Code_INTERNAL, k == code.Code_UNAVAILABLE:
		return line(k.String() + ": " + c.Status.GetMessage()), true
	}
	return "", false
}

// line makes one bounded line of valid UTF-8 of what a worker said.
func line(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\n", " ")
}

func requeueEntry(row *queue.Job, attempt int32, why string) *commandpb.Entry {
	return &commandpb.Entry{Entry: &commandpb.Entry_Requeue{Requeue: &queuepb.Requeue{
		JobId: row.ID, Attempt: attempt, SessionId: row.SessionID, Reason: why,
	}}}
}

// aborted is the response of a job that is given up, with all that its attempts
// ended in. last is the end of the attempt that is not in the history yet.
func aborted(row *queue.Job, last string) *repb.ExecuteResponse {
	history := row.History
	if last != "" {
		last = fmt.Sprintf("attempt %d on %s: %s", row.Attempt, row.BotID, last)
		history = append(history[:len(history):len(history)], last)
	}
	const most = 10 // a job may be interrupted a hundred times
	told := history[max(0, len(history)-most):]
	var b strings.Builder
	fmt.Fprintf(&b, "gave up after %d attempts", row.Attempt)
	if len(told) < int(row.Attempt) {
		fmt.Fprintf(&b, ", the last %d of which", len(told))
	}
	b.WriteString(": " + strings.Join(told, "; "))
	return &repb.ExecuteResponse{Status: &statuspb.Status{Code: int32(code.Code_ABORTED), Message: b.String()}}
}

// hopeless tells whether a queued job has used up its attempts.
func (s *Scheduler) hopeless(row *queue.Job) bool {
	return row.Failures >= s.o.MaxAttempts || row.Losses >= s.o.MaxLosses
}

// giveUp has a queued job completed with ABORTED.
func (s *Scheduler) giveUp(j *job) {
	if s.stall != nil {
		s.parked = append(s.parked, j)
		return
	}
	s.complete(j, aborted(j.row, ""))
}

// complete has a job completed that no session has and that is not waiting. The
// response is small, so that it never needs the store of blobs.
func (s *Scheduler) complete(j *job, r *repb.ExecuteResponse) {
	e, err := s.finalEntry(s.ctx, j.row, nil, r, false)
	if err != nil {
		s.log.Error("complete job", keyJob, j.row.ID, keyError, err)
		return
	}
	s.outbox = append(s.outbox, errand{entry: e, job: j})
}
