package sched

import (
	"time"
)

// rankCost bounds the share of time that ranking a class may take: after it took
// d, the class is not ranked again for rankCost times d.
const rankCost = 50

// touch notes that positions and reasons of a class may have changed.
func (s *Scheduler) touch(c *class) {
	c.stale = true
	s.armRefresh()
}

// staleAll notes that the workers changed, or that dispatch did.
func (s *Scheduler) staleAll() {
	for _, c := range s.classes {
		c.stale = true
		c.lacking = ""
	}
	s.armRefresh()
}

// armRefresh has the watchers told of changed reasons before long. Without
// watchers nothing happens: reasons are worked out when someone asks.
func (s *Scheduler) armRefresh() {
	if s.refreshing || s.watching == 0 || !s.started || s.stopped {
		return
	}
	s.refreshing = true
	s.after(s.o.ReasonEvery, s.refresh)
}

// refresh wakes the watchers of jobs whose reason for waiting is news.
func (s *Scheduler) refresh() {
	s.refreshing = false
	again := false
	for _, c := range s.classes {
		if !c.stale || c.queue.len() == 0 {
			continue
		}
		if !s.rank(c) {
			again = true
			continue
		}
		c.queue.each(func(j *job) bool {
			if j.watched() && s.reasonOf(j).news(j.published) {
				j.changed()
			}
			return true
		})
	}
	if again {
		s.armRefresh()
	}
}

func (j *job) watched() bool {
	for _, op := range j.ops {
		if len(op.watches) > 0 {
			return true
		}
	}
	return false
}

// positionOf returns the job's place in the queue of its class, exact as of at
// most Options.ReasonEvery ago. One that was not there then is taken to be last.
func (s *Scheduler) positionOf(j *job) int {
	if j.class.stale {
		s.rank(j.class)
	}
	if j.ranking != j.class.ranking || j.rank == 0 {
		return max(j.class.queue.len(), 1)
	}
	return j.rank
}

// rank counts the waiting jobs of a class through, unless it did so a moment ago.
func (s *Scheduler) rank(c *class) bool {
	start := time.Now()
	if start.Before(c.rankAgain) {
		return false
	}
	c.ranking++
	n := 0
	c.queue.each(func(j *job) bool {
		n++
		j.rank, j.ranking = n, c.ranking
		return true
	})
	end := time.Now()
	c.stale = false
	c.rankAgain = end.Add(max(s.o.ReasonEvery/2, rankCost*end.Sub(start)))
	return true
}
