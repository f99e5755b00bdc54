package sched

import (
	"fmt"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// reason says why a job waits. Reasons are compared to tell whether watchers are
// to hear of a change.
type reason struct {
	kind     reasonKind
	what     string // a worker, what it needs, or what is wrong
	slots    int
	position int // in the queue, from 1
}

type reasonKind int

const (
	notWaiting   reasonKind = iota
	beingHanded             // its assignment is being committed
	logStalled              // the command log takes no commands
	nodeDrains              //
	noWorker                // no open session could ever take it
	workerAway              // those that could have not come back since the node started
	workerRefuse            // those that could are drained, or take no work
	allBusy                 //
	noRoom                  // slots are free, but not as much as it needs
	ownRoom                 // a worker is kept free for it
	keptRoom                // what is free is kept for others that need more
)

// String returns the sentence that people read; "" when the job does not wait.
func (r reason) String() string {
	switch r.kind {
	case beingHanded:
		return "being handed to worker " + r.what
	case logStalled:
		return "the command log does not take commands: " + r.what
	case nodeDrains:
		return "the node is draining: it hands out no more work"
	case noWorker:
		return r.what
	case workerAway:
		return "waiting for worker " + r.what + " to return"
	case workerRefuse:
		return r.what
	case allBusy:
		if r.slots == 1 {
			return fmt.Sprintf("the only slot is busy, position %d", r.position)
		}
		return fmt.Sprintf("all %d slots are busy, position %d", r.slots, r.position)
	case noRoom:
		return fmt.Sprintf("no worker has %s free, position %d", r.what, r.position)
	case ownRoom:
		return fmt.Sprintf("worker %s is kept free for it until it has room, position %d", r.what, r.position)
	case keptRoom:
		return fmt.Sprintf("worker %s is kept free for an action that needs more, position %d", r.what, r.position)
	}
	return ""
}

// news tells whether watchers who know the reason old are to hear of r: always
// when it is of another kind, but of a new position only when it changed by a
// tenth, so that ten thousand watchers of one long queue are not woken each time
// one job leaves it.
func (r reason) news(old reason) bool {
	if r.kind < allBusy || r.kind != old.kind || r.what != old.what {
		return r != old
	}
	moved := max(r.position-old.position, old.position-r.position)
	return r.slots != old.slots || moved > 0 && moved*10 >= old.position
}

// reasonOf says why a job waits. An executing job waits too while its worker has
// not come back since the node was started.
func (s *Scheduler) reasonOf(j *job) reason {
	if l := j.lease; l != nil {
		if l.session.away {
			return reason{kind: workerAway, what: l.session.row.BotID}
		}
		return reason{}
	}
	if j.row.Stage != queue.Queued {
		return reason{}
	}
	switch h := s.holds[j.row.ID]; {
	case s.stall != nil:
		return reason{kind: logStalled, what: s.stall.Error()}
	case h != nil:
		return reason{kind: beingHanded, what: h.session.row.BotID}
	case len(j.class.sessions) == 0:
		if j.class.lacking == "" {
			j.class.lacking = s.whatLacks(j.class)
		}
		return reason{kind: noWorker, what: j.class.lacking}
	case s.draining:
		return reason{kind: nodeDrains}
	}
	if r, ok := j.class.absent(); ok {
		return r
	}
	kind, what := j.class.blocked()
	return reason{kind: kind, what: what, slots: j.class.slots(), position: s.positionOf(j)}
}

// blocked says what keeps the jobs of a class from sessions that take work.
func (c *class) blocked() (kind reasonKind, what string) {
	if k := c.keeper; k != nil {
		return ownRoom, k.row.BotID
	}
	kind = allBusy
	for _, ses := range c.sessions {
		switch {
		case ses.free() <= 0:
		case c.need.some() && !ses.fits(c.need):
			return noRoom, c.need.String()
		default:
			kind, what = keptRoom, ses.row.BotID
		}
	}
	return kind, what
}

// absent says what is with the sessions of a class when none of them takes work.
func (c *class) absent() (reason, bool) {
	var away, refuses *Session
	for _, ses := range c.sessions {
		switch {
		case ses.away:
			away = firstByBot(away, ses)
		case ses.refusal() != "":
			refuses = firstByBot(refuses, ses)
		default:
			return reason{}, false
		}
	}
	switch {
	case away != nil:
		return reason{kind: workerAway, what: away.row.BotID}, true
	case refuses != nil:
		return reason{kind: workerRefuse, what: "worker " + refuses.row.BotID + " takes no work: " + refuses.refusal()}, true
	}
	return reason{}, false
}

func firstByBot(a, b *Session) *Session {
	if a == nil || b.row.BotID < a.row.BotID {
		return b
	}
	return a
}

// slots counts the slots of the sessions that take the class's jobs now.
func (c *class) slots() (n int) {
	for _, ses := range c.sessions {
		if ses.accepts() {
			n += ses.capacity()
		}
	}
	return n
}
