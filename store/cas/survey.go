package cas

import (
	"time"
)

// candidate is a sealed generation as the cleaner sees it.
type candidate struct {
	generation *generation
	old        bool  // of the older three quarters of the ring
	held       int64 // bytes that are protected, with what storing them again takes
	ending     [endings]int64
}

// endings is into how many parts the protection window is divided to know when
// how many of the protected bytes will be free.
const endings = 64

// hold counts n bytes that were used last at st.
func (c *candidate) hold(p *protection, n int64, st, now stamp) {
	n += entryHeader + recordOverhead
	c.held += n
	left := min(st+p.horizon-now, p.horizon)
	c.ending[uint64(left)*(endings-1)/uint64(p.horizon)] += n
}

// fallsTo tells in which time the protected bytes will be at most n.
func (c *candidate) fallsTo(p *protection, n int64) time.Duration {
	held := c.held
	for i, bytes := range c.ending {
		if held <= n {
			return time.Duration(i) * time.Duration(p.horizon) * stampUnit / (endings - 1)
		}
		held -= bytes
	}
	return time.Duration(p.horizon+1) * stampUnit
}

// A generation is dropped when at most this share of it, in percent, has to be
// carried over: ahead of need, and when writers wait.
const (
	cheapShare   = 50
	pressedShare = 90
)

// choose picks the candidate with the least protected bytes among the older three
// quarters of the ring, or among all when writers wait and none of those will do.
// When there is none it returns how long to wait.
func (s *Store) choose(cs []*candidate, pressed bool) (*candidate, time.Duration) {
	share := int64(cheapShare)
	if pressed {
		share = pressedShare
	}
	room := s.geo.survivorLimit - s.space.used()
	var best, young *candidate
	wait := time.Duration(s.horizon+1) * stampUnit
	for _, c := range cs { // the oldest last, which wins
		allowed := min(c.generation.use()/100*share, room)
		switch {
		case c.held > allowed:
			wait = min(wait, c.fallsTo(&s.protection, max(allowed, 0)))
		case c.old && (best == nil || c.held <= best.held):
			best = c
		case !c.old && (young == nil || c.held <= young.held):
			young = c
		}
	}
	switch {
	case best != nil:
		return best, 0
	case young != nil && pressed:
		return young, 0
	}
	return nil, max(wait, retryPause)
}

// listRef is a list that refers to other generations than its own.
type listRef struct {
	generation *generation
	record     record
	stamp      stamp
}

// survey weighs the sealed generations. It reads the stamps of all of them, the
// records of what is protected, and the lists that reach beyond their own
// generation.
func (s *Store) survey() []*candidate {
	gens, now := s.ring(), s.now()
	var all []*candidate
	byID := make(map[uint32]*candidate)
	var lists []listRef
	for i, g := range gens {
		var c *candidate
		if g.droppable.Load() {
			c = &candidate{generation: g, old: i >= len(gens)/4}
			all, byID[g.id] = append(all, c), c
		}
		s.weigh(g, c, now)
		lists = append(lists, s.foreignLists(g, 0)...)
	}
	hold := func(places []place, st stamp) {
		for _, p := range places {
			if c := byID[p.generation]; c != nil {
				c.hold(&s.protection, int64(p.length), st, now)
			}
		}
	}
	for _, l := range lists {
		if _, places, err := s.readListAt(l.generation, l.record); err == nil && s.holds(l.stamp, now) {
			hold(places, l.stamp)
		}
	}
	for _, u := range s.writers.list() {
		u.placesMu.Lock()
		hold(u.places, now)
		u.placesMu.Unlock()
	}
	total := int64(0)
	for _, c := range all {
		total += c.held
	}
	s.counters.lastSurvey.Store(total)
	return all
}

// weigh counts what is protected and lies wholly in one generation.
func (s *Store) weigh(g *generation, c *candidate, now stamp) {
	if c == nil {
		return
	}
	v := s.view(g)
	defer v.release()
	for _, r := range v.runs {
		for i := range r.n {
			if st := r.stamp(i); s.holds(st, now) {
				if rec := r.record(i); rec.back == 0 {
					c.hold(&s.protection, rec.size, st, now)
				}
			}
		}
	}
}

// view is the indexes that a generation has at one moment.
type view struct {
	memory []*memIndex
	runs   []*run
}

func (s *Store) view(g *generation) view {
	s.ringMu.RLock()
	defer s.ringMu.RUnlock()
	var v view
	for _, m := range []*memIndex{g.frozen, g.active} {
		if m != nil {
			v.memory = append(v.memory, m)
		}
	}
	for _, r := range g.runs {
		r.retain()
		v.runs = append(v.runs, r)
	}
	return v
}

func (v view) release() {
	for _, r := range v.runs {
		r.release()
	}
}

// foreignLists returns the living lists in g that may refer to a generation; 0
// stands for any.
func (s *Store) foreignLists(g *generation, to uint32) []listRef {
	var out []listRef
	add := func(rec record, st stamp) {
		mayReach := rec.back == 255 || to == 0 || g.id-min(g.id, uint32(rec.back)) <= to
		if rec.kind == kindList && rec.back > 0 && st != dead && mayReach {
			out = append(out, listRef{g, rec, st})
		}
	}
	v := s.view(g)
	defer v.release()
	for _, m := range v.memory {
		m.foreignLists(add)
	}
	for _, r := range v.runs {
		if !r.foreign || to != 0 && r.oldest > to {
			continue
		}
		for i := range r.n {
			if rec := r.record(i); rec.back > 0 {
				add(rec, r.stamp(i))
			}
		}
	}
	return out
}
