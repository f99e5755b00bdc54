package sched

import (
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
)

// armGrace sees to it that a job which no worker can take ends in time. One timer
// serves them all; it may come early, never late.
func (s *Scheduler) armGrace() {
	if s.o.UnmatchableGrace > 0 && s.grace == nil && s.started && !s.stopped {
		s.grace = s.after(s.o.UnmatchableGrace, s.endUnmatchable)
	}
}

// endUnmatchable completes the jobs that waited for the grace without any session
// that could take them, and looks again when the next one is due. While the log
// takes no commands nothing is decided.
func (s *Scheduler) endUnmatchable() {
	s.grace = nil
	if s.stall != nil {
		s.armGrace()
		return
	}
	now := time.Now()
	next := time.Duration(-1)
	for _, c := range s.classes {
		if len(c.sessions) > 0 || c.queue.len() == 0 {
			continue
		}
		var due []*job
		c.queue.each(func(j *job) bool {
			since := j.placed
			if c.unserved.After(since) {
				since = c.unserved
			}
			if left := s.o.UnmatchableGrace - now.Sub(since); left <= 0 {
				due = append(due, j)
			} else if next < 0 || left < next {
				next = left
			}
			return true
		})
		for _, j := range due {
			why := s.reasonOf(j).String()
			s.unqueue(j)
			s.complete(j, unmatchable(why, s.o.UnmatchableGrace))
		}
	}
	if next >= 0 {
		s.grace = s.after(next, s.endUnmatchable)
	}
}

// unmatchable is the response of a job that no worker could take.
func unmatchable(why string, grace time.Duration) *repb.ExecuteResponse {
	return &repb.ExecuteResponse{Status: &statuspb.Status{
		Code:    int32(code.Code_FAILED_PRECONDITION),
		Message: "no worker could run the action within " + grace.String() + ": " + why,
	}}
}
