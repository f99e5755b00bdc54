package sched

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Start loads what is unfinished and begins to dispatch. Sessions of this node's
// process before are closed first: their jobs are queued again, at no fault of
// their own. Every other open session gets one full expiry to come back. Nobody
// else may propose until Start has returned; ctx is for the loading only.
func (s *Scheduler) Start(ctx context.Context) error {
	start := time.Now()
	if err := s.closeOrphans(ctx); err != nil {
		return fmt.Errorf("start scheduler: %w", err)
	}
	rows, ops, err := s.o.Queue.Unfinished(ctx)
	if err != nil {
		return fmt.Errorf("start scheduler: read jobs: %w", err)
	}
	sessions, err := s.o.Queue.Sessions(ctx)
	if err != nil {
		return fmt.Errorf("start scheduler: read sessions: %w", err)
	}
	s.mu.Lock()
	defer s.unlock()
	if s.started || s.stopped {
		return errors.New("start scheduler: it was started before")
	}
	s.started = true
	for _, row := range sessions {
		ses := s.addSession(row)
		ses.away = ses.expiry != nil
	}
	s.load(rows, ops)
	s.goLocked(s.pruneNowAndThen)
	if s.o.Protect != nil {
		s.goLocked(s.protectNowAndThen)
	}
	s.log.Info("scheduler started", "jobs", len(rows), "sessions", len(sessions), "took", time.Since(start))
	return nil
}

// closeOrphans closes the local sessions of processes that have ended.
func (s *Scheduler) closeOrphans(ctx context.Context) error {
	sessions, err := s.o.Queue.Sessions(ctx)
	if err != nil {
		return fmt.Errorf("read sessions: %w", err)
	}
	for _, row := range sessions {
		if !row.Local || (row.NodeID != s.o.NodeID && !s.o.Clustered) {
			continue
		}
		if _, err := s.proposeOne(ctx, closeEntry(row.ID, "the node was restarted", true)); err != nil {
			return fmt.Errorf("close session %s: %w", row.ID, err)
		}
	}
	return nil
}

// load fills the mirror, oldest job first, and gives out what it can.
func (s *Scheduler) load(rows []*queue.Job, ops []*queue.Operation) {
	of := make(map[string][]*queue.Operation, len(rows))
	for _, op := range ops {
		if !op.Cancelled {
			of[op.JobID] = append(of[op.JobID], op)
		}
	}
	queued := make([]*job, 0, len(rows))
	for _, row := range rows {
		var first *queue.Operation
		rest := of[row.ID]
		if len(rest) > 0 {
			first, rest = rest[0], rest[1:]
		}
		j := s.addJob(row, first)
		j.protected = time.Time{}
		for _, op := range rest {
			s.addOperation(j, op)
		}
		if row.Stage == queue.Queued {
			queued = append(queued, j)
		} else if ses := s.sessions[row.SessionID]; ses != nil {
			ses.give(j, share{need: j.class.need}) // again: it may never have left
		}
	}
	for _, j := range queued {
		s.place(j)
	}
}

// Drain takes no new actions and gives out no more leases, then waits until the
// sessions of this process have ended theirs, or until ctx ends, whose error it
// then returns. Remote workers keep what they run: they deliver it after a
// restart. Watches, cancellations and completions go on until Stop.
func (s *Scheduler) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.staleAll()
	for _, ses := range s.sessions {
		ses.wakeIfOver()
	}
	s.mu.Unlock()
	for {
		s.mu.Lock()
		left := 0
		for _, ses := range s.sessions {
			if ses.expiry == nil {
				left += len(ses.leases) + ses.reserved
			}
		}
		changed := s.observedLocked()
		stopped := s.stopped
		s.mu.Unlock()
		if left == 0 || stopped {
			return nil
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
		case <-ctx.Done():
			return fmt.Errorf("drain: %d actions are still running: %w", left, ctx.Err())
		}
	}
}

// Stop ends everything that waits, and returns when all goroutines have ended.
// The proposer must still run: what was proposed is waited for. More than once is
// fine.
func (s *Scheduler) Stop() {
	s.mu.Lock()
	s.stopped = true
	s.cancel()
	for _, ses := range s.sessions {
		if ses.expiry != nil {
			ses.expiry.Stop()
		}
		for _, t := range ses.lingering {
			t.timer.Stop()
		}
	}
	if s.grace != nil {
		s.grace.Stop()
	}
	s.mu.Unlock()
	s.wg.Wait()
}
