package sched

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// idleClasses is how many classes without jobs are kept at least, so that a
// quiet grid does not match properties anew for each job.
const idleClasses = 1024

// class is all jobs of one instance that ask for the same properties and need as
// much of their worker, with the sessions that can take them. Jobs that no worker can take sit in classes that
// no session looks at, and so cost the others nothing.
type class struct {
	key      string
	instance string
	props    []queue.Property
	need     Resources
	queue    order
	sessions []*Session
	jobs     int      // unfinished, waiting or not
	keeper   *Session // that is kept free for them; nil: none

	stale     bool      // ranks and reasons may have changed since they were worked out
	ranking   uint64    // grows each time the jobs are counted through
	rankAgain time.Time // not before
	lacking   string    // why no session can take it; "" when not yet worked out
	unserved  time.Time // since when no session can take it; zero while one can
}

// classKey is the same for the same instance and properties only.
func classKey(instance string, props []queue.Property) string {
	var b strings.Builder
	part := func(s string) {
		b.WriteString(strconv.Itoa(len(s)))
		b.WriteByte(':')
		b.WriteString(s)
	}
	part(instance)
	for _, p := range props {
		part(p.Name)
		part(p.Value)
	}
	return b.String()
}

// classFor finds or makes the class of a job's properties and needs.
func (s *Scheduler) classFor(instance string, props, carried []queue.Property) *class {
	key, need := classKey(instance, props), s.o.Needs(carried)
	if need.some() {
		key += fmt.Sprint(need)
	}
	if c := s.classes[key]; c != nil {
		return c
	}
	if len(s.classes) >= s.classLimit {
		s.forgetIdleClasses()
	}
	c := &class{key: key, instance: instance, props: props, need: need, queue: &fairOrder{ledger: &s.ledger}}
	s.classes[key] = c
	for _, ses := range s.sessions {
		if ses.matches(c) {
			c.join(ses)
		}
	}
	if len(c.sessions) == 0 {
		c.unserved = time.Now()
	}
	return c
}

// forgetIdleClasses removes the classes that have no jobs. The limit then
// follows what is left, so that the sweep stays cheap for each new class.
func (s *Scheduler) forgetIdleClasses() {
	for key, c := range s.classes {
		if c.jobs > 0 {
			continue
		}
		delete(s.classes, key)
		for _, ses := range c.sessions {
			ses.classes = without(ses.classes, c)
		}
	}
	s.classLimit = max(idleClasses, 2*len(s.classes))
}

func (c *class) join(ses *Session) {
	c.unserved = time.Time{}
	c.sessions = append(c.sessions, ses)
	ses.classes = append(ses.classes, c)
}

// leave takes out a session that is closed.
func (c *class) leave(ses *Session) {
	if c.sessions = without(c.sessions, ses); len(c.sessions) == 0 {
		c.unserved = time.Now()
	}
}

// idle returns the session of the class that should take the next job, or nil
// when all are busy.
func (c *class) idle() *Session {
	var best *Session
	for _, ses := range c.sessions {
		if ses.free() > 0 && ses.admits(c) && (best == nil || c.prefers(ses, best)) {
			best = ses
		}
	}
	return best
}

// better tells whether ses should take a job rather than other: one whose bot is
// in a call, for it lives; then the one with more free slots; then the one that
// was given something longer ago.
func (ses *Session) better(other *Session) bool {
	if a, b := ses.present(), other.present(); a != b {
		return a
	}
	if a, b := ses.free(), other.free(); a != b {
		return a > b
	}
	return ses.given < other.given
}

// next returns the waiting job that a session should take first, or nil.
func (s *Scheduler) next(ses *Session) *job {
	if c := ses.kept.class; c != nil && ses.fits(c.need) {
		return c.queue.head()
	}
	var best *job
	tight := false
	for _, c := range ses.classes {
		if c.queue.len() == 0 {
			continue
		}
		if !ses.admits(c) {
			tight = true
			continue
		}
		if j := c.queue.head(); best == nil || s.ahead(j, best) {
			best = j
		}
	}
	if tight && best != nil && s.keepRoom(ses, best) {
		return s.next(ses)
	}
	return best
}

// without returns list without its element e; the order is not kept.
func without[T comparable](list []T, e T) []T {
	i := slices.Index(list, e)
	if i < 0 {
		return list
	}
	var zero T
	last := len(list) - 1
	list[i], list[last] = list[last], zero
	return list[:last]
}
