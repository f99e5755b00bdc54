package sched

import (
	"time"
)

// entrance is what a bot says when it opens a session beside what is stored of it.
type entrance struct {
	refuses string
	has     Resources
}

// kept says that a session is kept free for the jobs of a class, which have waited
// for room while others that need less went before them. Whatever began before
// that ends some day. What it is given from then on is held to leave room for one
// of the class beside itself, so that then there is room.
type kept struct {
	class  *class // nil: it is not kept
	since  uint64 // on the scheduler's sequence
	beside Resources
	slots  int // with beside: what was given since then, and has not ended
}

// admits tells whether the session has room for a job of the class, and whether
// the room is not kept for another.
func (ses *Session) admits(c *class) bool {
	if c.need.some() && !ses.fits(c.need) {
		return false
	}
	k := &ses.kept
	if k.class == nil || k.class == c {
		return true
	}
	return k.slots+2 <= ses.capacity() && k.beside.plus(c.need).fits(k.class.need, ses.has)
}

// tight tells whether a job waits that the session could take if it had more room.
func (s *Scheduler) tight(ses *Session) bool {
	if s.needy == 0 {
		return false
	}
	for _, c := range ses.classes {
		if c.need.some() && c.queue.len() > 0 && !ses.fits(c.need) {
			return true
		}
	}
	return false
}

// keepRoom looks for jobs that have waited too long, have no room in the session,
// and should go before the one that has; a session is kept free for each class of
// them. It tells whether that is this one.
func (s *Scheduler) keepRoom(ses *Session, before *job) bool {
	was := ses.kept.class
	for _, c := range ses.classes {
		if !c.need.some() || c.queue.len() == 0 || ses.fits(c.need) {
			continue
		}
		if c.keeper != nil && c.keeper.accepts() {
			continue
		}
		if j := c.queue.head(); time.Since(j.placed) < s.o.RoomPatience || !s.ahead(j, before) {
			continue
		}
		s.unkeep(c)
		if to := c.nearlyFree(); to != nil {
			c.keeper, to.kept = to, kept{class: c, since: s.seq}
			s.log.Info("a worker is kept free", keyBot, to.row.BotID, "for", c.need, "waiting", c.queue.len())
		}
	}
	return ses.kept.class != was
}

// nearlyFree returns the session that lacks least for a job of the class, and is
// not kept for others; nil when there is none.
func (c *class) nearlyFree() *Session {
	var best *Session
	least := 0.0
	for _, ses := range c.sessions {
		if !ses.accepts() || ses.kept.class != nil {
			continue
		}
		if lacks := ses.shortOf(c.need); best == nil || lacks < least {
			best, least = ses, lacks
		}
	}
	return best
}

// shortOf is the part of its CPUs, memory or slots that a session would have to
// get back before it could take a job that needs so much; the largest of them.
func (ses *Session) shortOf(need Resources) float64 {
	one := func(used, need, has int64) float64 {
		if need == 0 || has == 0 {
			return 0
		}
		return float64(used+need-has) / float64(has)
	}
	slots := float64(1-ses.free()) / float64(ses.capacity())
	return max(0, slots, one(ses.used.CPUs, need.CPUs, ses.has.CPUs), one(ses.used.Memory, need.Memory, ses.has.Memory))
}

// unkeep: no session is kept free for the class any longer.
func (s *Scheduler) unkeep(c *class) {
	if ses := c.keeper; ses != nil {
		c.keeper, ses.kept = nil, kept{}
		s.unkept = append(s.unkept, ses)
	}
}

// enqueue and unqueue put a job into its class's queue, and take it out.
func (s *Scheduler) enqueue(j *job) {
	j.class.queue.push(j)
	if j.class.need.some() {
		s.needy++
	}
}

func (s *Scheduler) unqueue(j *job) {
	c := j.class
	c.queue.remove(j)
	if c.need.some() {
		s.needy--
	}
	if c.queue.len() == 0 {
		s.unkeep(c)
	}
}
