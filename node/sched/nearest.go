package sched

import (
	"strings"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// whatLacks says why no open session could take a class's jobs, and what the one
// that comes nearest lacks.
func (s *Scheduler) whatLacks(c *class) string {
	if largest := s.largest(c); largest != nil {
		return "no worker has " + c.need.String() + "; the largest, worker " + largest.row.BotID + ", has " + largest.has.String()
	}
	var nearest *Session
	var lacks []queue.Property
	offered := map[queue.Property]bool{}
	for _, ses := range s.sessions {
		if ses.row.Instance != c.instance {
			continue
		}
		missing := ses.lacks(c.props)
		for _, p := range c.props {
			if _, ok := ses.offers[p]; ok {
				offered[p] = true
			}
		}
		if nearest == nil || len(missing) < len(lacks) || len(missing) == len(lacks) && ses.row.BotID < nearest.row.BotID {
			nearest, lacks = ses, missing
		}
	}
	if nearest == nil {
		if len(c.props) == 0 {
			return "no worker is connected"
		}
		return "no worker is connected; it must offer " + list(c.props)
	}
	var nobody []queue.Property
	for _, p := range c.props {
		if !offered[p] {
			nobody = append(nobody, p)
		}
	}
	end := "; the nearest, worker " + nearest.row.BotID + ", lacks " + list(lacks)
	switch {
	case len(nobody) == 0:
		return "no worker offers " + list(c.props) + " together" + end
	case len(nobody) == len(lacks): // the nearest lacks nothing else
		return "no worker offers " + list(nobody) + "; the nearest is worker " + nearest.row.BotID
	}
	return "no worker offers " + list(nobody) + end
}

// largest returns the session that comes nearest to what the class needs, of those
// that offer all its properties; nil when none does.
func (s *Scheduler) largest(c *class) *Session {
	var best *Session
	for _, ses := range s.sessions {
		if ses.row.Instance != c.instance || len(ses.lacks(c.props)) > 0 {
			continue
		}
		if best == nil || ses.lackOf(c.need) < best.lackOf(c.need) || ses.lackOf(c.need) == best.lackOf(c.need) && ses.row.BotID < best.row.BotID {
			best = ses
		}
	}
	return best
}

// lackOf is the part of need that a session does not have at all.
func (ses *Session) lackOf(need Resources) float64 {
	one := func(need, has int64) float64 {
		if need == 0 || has == 0 {
			return 0
		}
		return max(0, float64(need-has)/float64(need))
	}
	return max(one(need.CPUs, ses.has.CPUs), one(need.Memory, ses.has.Memory))
}

// list writes a=1, b=2 and c=3.
func list(ps []queue.Property) string {
	var b strings.Builder
	for i, p := range ps {
		switch {
		case i == 0:
		case i == len(ps)-1:
			b.WriteString(" and ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(p.Name + "=" + p.Value)
	}
	return b.String()
}
