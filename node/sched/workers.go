package sched

import (
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Offers tells whether any open session offers the property.
func (s *Scheduler) Offers(name, value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offers[queue.Property{Name: name, Value: value}] > 0
}

// DrainBot takes a worker out of service, or back into it: drained, it keeps what
// it runs and is given nothing more, in a new session neither. This is forgotten
// when the node is restarted. ErrUnknownBot: no session of that bot is open.
func (s *Scheduler) DrainBot(instance, botID string, drain bool) error {
	s.mu.Lock()
	defer s.unlock()
	key := botKey{instance, botID}
	ses := s.bots[key]
	if drain && ses == nil || !drain && ses == nil && !s.drained[key] {
		return ErrUnknownBot
	}
	if drain {
		s.drained[key] = true
	} else {
		delete(s.drained, key)
	}
	if ses != nil {
		ses.drained = drain
		s.acceptanceChanged(ses)
	}
	return nil
}

// Refuse tells that the bot takes no more jobs, and why (its disk is full, it
// terminates); "" that it takes jobs again. It keeps what it has.
func (ses *Session) Refuse(why string) {
	s := ses.s
	s.mu.Lock()
	defer s.unlock()
	if ses.refuses == why {
		return
	}
	ses.refuses = line(why)
	s.acceptanceChanged(ses)
}

func (s *Scheduler) acceptanceChanged(ses *Session) {
	for _, c := range ses.classes {
		s.touch(c)
	}
	s.feed(ses)
}
