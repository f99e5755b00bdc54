package queue

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// live is what is unfinished, in memory: the truth that Apply decides by. The
// tables hold the same, and what is finished besides. Its values are never
// changed, only replaced.
type live struct {
	jobs     map[string]*liveJob
	ops      map[string]*Operation
	sessions map[string]*Session
	held     map[string]map[string]struct{} // session to the jobs that it has
}

// liveJob is a job with what Apply needs besides.
type liveJob struct {
	*Job
	seq int64
	ops []*Operation
}

func newLive() live {
	return live{
		jobs:     map[string]*liveJob{},
		ops:      map[string]*Operation{},
		sessions: map[string]*Session{},
		held:     map[string]map[string]struct{}{},
	}
}

// change returns a copy of the job to change.
func (j *liveJob) change() *liveJob {
	job := *j.Job
	return &liveJob{Job: &job, seq: j.seq, ops: j.ops}
}

// withOperation returns the operations with o put in the place of the one with
// its id, or at the end.
func (j *liveJob) withOperation(o *Operation) []*Operation {
	ops := make([]*Operation, 0, len(j.ops)+1)
	found := false
	for _, old := range j.ops {
		if old.ID == o.ID {
			old, found = o, true
		}
		ops = append(ops, old)
	}
	if !found {
		ops = append(ops, o)
	}
	return ops
}

// withoutOperation returns the operations but the one named.
func (j *liveJob) withoutOperation(id string) []*Operation {
	var ops []*Operation
	for _, o := range j.ops {
		if o.ID != id {
			ops = append(ops, o)
		}
	}
	return ops
}

// merge takes over what a transaction changed.
func (l *live) merge(tx *Tx) {
	for id, s := range tx.sessions {
		if s == nil {
			delete(l.sessions, id)
		} else {
			l.sessions[id] = s
		}
	}
	for id, j := range tx.jobs {
		l.replace(id, j)
	}
	for id, o := range tx.ops {
		if o == nil {
			delete(l.ops, id)
		} else if _, ok := l.jobs[o.JobID]; ok {
			l.ops[id] = o
		}
	}
}

// replace puts j in the place of the job of that id; one that is completed goes,
// with its operations.
func (l *live) replace(id string, j *liveJob) {
	if old := l.jobs[id]; old != nil && old.SessionID != j.SessionID {
		l.release(old.SessionID, id)
	}
	if j.Stage == Completed {
		delete(l.jobs, id)
		for _, o := range j.ops {
			delete(l.ops, o.ID)
		}
		return
	}
	l.jobs[id] = j
	if j.SessionID != "" {
		l.hold(j.SessionID, id)
	}
}

func (l *live) hold(session, job string) {
	if l.held[session] == nil {
		l.held[session] = map[string]struct{}{}
	}
	l.held[session][job] = struct{}{}
}

func (l *live) release(session, job string) {
	delete(l.held[session], job)
	if len(l.held[session]) == 0 {
		delete(l.held, session)
	}
}

// nanos is a time as the tables hold it: 0 for the zero Time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// instant is the inverse of nanos.
func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func sortBySeq(jobs []*liveJob) {
	slices.SortFunc(jobs, func(a, b *liveJob) int { return cmp.Compare(a.seq, b.seq) })
}

func sessionsByID(sessions map[string]*Session) []*Session {
	out := slices.Collect(maps.Values(sessions))
	slices.SortFunc(out, func(a, b *Session) int { return cmp.Compare(a.ID, b.ID) })
	return out
}
