package sched

import "github.com/bgrid-node/bgrid-node/store/queue"

// streams are the names by which the output of one attempt can be read while it
// runs.
type streams struct {
	attempt        int32
	stdout, stderr string
}

// Streams tells how the output of a lease can be read while it runs, for State. It
// is soft state: a node that starts again has forgotten it. Whoever watches is
// told at once, so it is for leases that take their time. Empty names take back
// what was said of the attempt; the same names again change nothing. false: the session does
// not have this attempt any more.
func (ses *Session) Streams(jobID string, attempt int32, stdout, stderr string) bool {
	s := ses.s
	s.mu.Lock()
	defer s.unlock()
	l := ses.leases[jobID]
	if l == nil || l.attempt != attempt {
		return false
	}
	if stdout == "" && stderr == "" && l.job.streams.attempt != attempt {
		return true // there is nothing to take back
	}
	if now := (streams{attempt, stdout, stderr}); now != l.job.streams {
		l.job.streams = now
		l.job.changed()
	}
	return true
}

// streamsOf returns the names that are right for what the job does now.
func (j *job) streamsOf() (stdout, stderr string) {
	if j.row.Stage != queue.Executing || j.streams.attempt != j.row.Attempt {
		return "", ""
	}
	return j.streams.stdout, j.streams.stderr
}
