package sched

import (
	"context"
	"fmt"
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue/queuepb"
)

// What a remote bot's calls need: it is told the whole of what it has each time,
// not one event after the other.

// BotID returns the bot's own name.
func (ses *Session) BotID() string { return ses.row.BotID }

// Take returns what the session has in hand, as Leases does, and forgets the
// events that would tell of it: whoever calls this tells the bot all of it.
func (ses *Session) Take() []Lease {
	ses.s.mu.Lock()
	defer ses.s.mu.Unlock()
	ses.events = nil
	out := make([]Lease, 0, len(ses.leases))
	for _, l := range ses.leases {
		l.taken = true
		out = append(out, ses.s.leaseOf(l))
	}
	return out
}

// Promised tells whether Await would return soon: there is news, or what the
// session is given is being committed.
func (ses *Session) Promised() bool {
	ses.s.mu.Lock()
	defer ses.s.mu.Unlock()
	return ses.reserved > 0 || len(ses.events) > 0
}

// Await waits until the session has news to Take. Its beginning is a sign of life
// of the bot, its duration is not: a bot that vanished cannot be told from one
// that waits. ErrUnknownBot: the session is closed. ErrStopped: the node stops.
func (ses *Session) Await(ctx context.Context) error {
	s := ses.s
	s.mu.Lock()
	ses.polls++
	ses.seen = time.Now()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		ses.polls--
		s.mu.Unlock()
	}()
	for {
		s.mu.Lock()
		news, closed, stopped := len(ses.events) > 0, ses.closed, s.stopped
		s.mu.Unlock()
		switch {
		case closed:
			return ErrUnknownBot
		case news:
			return nil
		case stopped:
			return ErrStopped
		}
		select {
		case <-ses.wake:
		case <-s.ctx.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Ended frees the slots of cancelled leases that the bot has no more, as has
// tells of each job: it need not be waited for any longer.
func (ses *Session) Ended(has func(jobID string) bool) {
	s := ses.s
	s.mu.Lock()
	defer s.unlock()
	for id := range ses.lingering {
		if !has(id) {
			s.stopLingering(ses, id)
		}
	}
}

// GiveBack queues a lease again, at no fault of the job: the bot never began with
// it. Without such a lease nothing happens.
func (ses *Session) GiveBack(ctx context.Context, jobID string, attempt int32, why string) error {
	ses.enter()
	defer ses.leave()
	l := ses.beginComplete(Completion{JobID: jobID, Attempt: attempt})
	if l == nil {
		return nil
	}
	_, err := ses.s.proposeOne(ctx, &commandpb.Entry{Entry: &commandpb.Entry_Requeue{Requeue: &queuepb.Requeue{
		JobId: jobID, Attempt: attempt, SessionId: ses.row.ID, Reason: line(why), Interrupted: true,
	}}}) // refused: another word on the job came first
	ses.endComplete(l, nil)
	if err != nil {
		return fmt.Errorf("give back job %s: %w", jobID, err)
	}
	return nil
}
