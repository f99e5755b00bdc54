package sched

import (
	"slices"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Reshape takes over what the bot now says of itself. What is stored keeps what
// it said first: after a restart nothing is given to it before it has called
// again. It keeps what it has, even beyond its capacity, which must be above 0.
func (ses *Session) Reshape(properties []queue.Property, capacity int) {
	s := ses.s
	s.mu.Lock()
	defer s.unlock()
	same := slices.Equal(properties, ses.shown.Properties)
	if ses.closed || capacity <= 0 || (same && capacity == ses.capacity()) {
		return
	}
	row := *ses.row // others hold the old one
	row.Properties, row.Capacity = properties, int32(capacity)
	ses.shown = &row
	if !same {
		s.rematch(ses)
	}
	s.staleAll()
	s.log.Info("bot changed", keyBot, row.BotID, keySession, row.ID, "capacity", capacity, "properties", len(properties))
	s.feed(ses)
}

// SetRoom takes over how much the bot now says that its leases share, see Bot.Has.
// It keeps what it has, even beyond that.
func (ses *Session) SetRoom(has Resources) {
	s := ses.s
	s.mu.Lock()
	defer s.unlock()
	if ses.closed || has == ses.has {
		return
	}
	ses.has = has
	s.rematch(ses)
	s.staleAll()
	s.feed(ses)
}

// rematch finds the classes anew that a session can take jobs of.
func (s *Scheduler) rematch(ses *Session) {
	s.withdraw(ses)
	clear(ses.offers)
	for _, p := range ses.shown.Properties {
		ses.offers[p] = struct{}{}
	}
	s.advertise(ses)
	s.armGrace()
}

// advertise lets a session take part in matching.
func (s *Scheduler) advertise(ses *Session) {
	for p := range ses.offers {
		s.offers[p]++
	}
	for _, c := range s.classes {
		if ses.matches(c) {
			c.join(ses)
		}
	}
}

// withdraw is the opposite of advertise.
func (s *Scheduler) withdraw(ses *Session) {
	for p := range ses.offers {
		if s.offers[p]--; s.offers[p] == 0 {
			delete(s.offers, p)
		}
	}
	for _, c := range ses.classes {
		c.leave(ses)
	}
	ses.classes = nil
	if c := ses.kept.class; c != nil { // others may have room for it
		c.keeper, ses.kept = nil, kept{}
	}
}
