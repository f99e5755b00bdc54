package sched

import (
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// pruneBatch bounds one Prune, so that it holds up no commit for long.
const pruneBatch = 2000

// pruneNowAndThen forgets finished jobs that are older than the retention.
func (s *Scheduler) pruneNowAndThen() {
	tick := time.NewTicker(s.o.PruneEvery)
	defer tick.Stop()
	var before uint64
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		s.finished.sweep()
		s.mu.Lock()
		completed := s.total.Completed
		s.mu.Unlock()
		// No faster than twice what comes in, nor slower.
		for range 1 + 2*(completed-before)/pruneBatch {
			if !s.prune() {
				break
			}
		}
		before = completed
	}
}

func (s *Scheduler) prune() bool {
	due := time.Now().Add(-s.o.Retention)
	refused, err := s.proposeOne(s.ctx, raftfsm.Prune(&queuepb.Prune{BeforeNanos: due.UnixNano(), Limit: pruneBatch}))
	if err == nil {
		err = refused
	}
	if err != nil {
		s.log.Warn("prune finished jobs", keyError, err)
	}
	return err == nil && s.ctx.Err() == nil
}

// protectNowAndThen keeps the inputs of unfinished jobs from eviction.
func (s *Scheduler) protectNowAndThen() {
	tick := time.NewTicker(s.o.ProtectEvery / 8)
	defer tick.Stop()
	for {
		s.protectDue()
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// protectDue protects the inputs of the jobs whose turn it is. One that cannot be
// protected is tried again soon; its worker will say what is missing.
func (s *Scheduler) protectDue() {
	s.mu.Lock()
	var due []*job
	for _, j := range s.jobs {
		if time.Since(j.protected) >= s.o.ProtectEvery {
			due = append(due, j)
		}
	}
	s.mu.Unlock()
	for _, j := range due {
		s.mu.Lock()
		row, live := j.row, s.jobs[j.row.ID] == j
		s.mu.Unlock()
		if !live {
			continue
		}
		if s.ctx.Err() != nil {
			return
		}
		if err := s.o.Protect(s.ctx, row.Action); err != nil {
			s.log.Warn("protect inputs of a job", keyJob, row.ID, keyError, err)
			continue
		}
		s.mu.Lock()
		j.protected = time.Now()
		s.mu.Unlock()
	}
}
