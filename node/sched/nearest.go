package sched

import (
	"strings"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// whatLacks says why no open session could take a class's jobs, and what the one
// that comes nearest lacks.
func (s *Scheduler) whatLacks(c *class) string {
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
