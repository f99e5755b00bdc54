package sched

import (
	"cmp"
	"container/heap"
	"slices"
)

// fairOrder goes by priority, lower first; within one, jobs that come back from
// a lost attempt go first, then the accounts take turns, each by age. All steps
// cost O(log accounts) beside a binary search over the priorities in use.
type fairOrder struct {
	ledger *ledger
	levels []*level // by priority
	n      int
}

// level is what waits with one priority.
type level struct {
	priority int32
	front    jobList
	lanes    map[*account]*lane
	turns    lanes
}

// lane is what waits of one account at one level.
type lane struct {
	account *account
	level   *level
	jobs    jobList
	served  uint64 // the account's, when the heap was last put in order
	index   int    // in the heap
}

func (o *fairOrder) len() int { return o.n }

func (o *fairOrder) push(j *job) {
	v := o.level(j.row.Priority)
	o.n++
	if j.row.Front {
		v.front.insert(j)
		return
	}
	a := o.ledger.enter(j.account)
	l := v.lanes[a]
	if l == nil {
		l = &lane{account: a, level: v, served: a.served}
		v.lanes[a] = l
		l.jobs.insert(j)
		j.lane = l
		heap.Push(&v.turns, l)
		return
	}
	l.jobs.insert(j)
	j.lane = l
	heap.Fix(&v.turns, l.index)
}

// remove finds the level by the lane or list that holds the job, since the row's
// priority may have changed meanwhile.
func (o *fairOrder) remove(j *job) {
	o.n--
	l := j.lane
	if l == nil {
		i := slices.IndexFunc(o.levels, func(v *level) bool { return &v.front == j.list })
		j.list.remove(j)
		o.dropEmpty(o.levels[i])
		return
	}
	j.list.remove(j)
	j.lane = nil
	o.ledger.leave(l.account)
	if l.jobs.n > 0 {
		heap.Fix(&l.level.turns, l.index)
		return
	}
	heap.Remove(&l.level.turns, l.index)
	delete(l.level.lanes, l.account)
	o.dropEmpty(l.level)
}

func (o *fairOrder) head() *job {
	if o.n == 0 {
		return nil
	}
	v := o.levels[0]
	if v.front.n > 0 {
		return v.front.first
	}
	return v.turns.top().jobs.first
}

func (o *fairOrder) each(visit func(*job) bool) {
	for _, v := range o.levels {
		for j := v.front.first; j != nil; j = j.next {
			if !visit(j) {
				return
			}
		}
		if !v.eachTurn(visit) {
			return
		}
	}
}

// eachTurn plays the turns of a level on a copy.
func (v *level) eachTurn(visit func(*job) bool) bool {
	turns := make(lanes, 0, len(v.turns))
	for _, l := range v.turns {
		c := *l
		c.served = l.account.served
		turns = append(turns, &c)
	}
	heap.Init(&turns)
	for len(turns) > 0 {
		l := turns[0]
		if !visit(l.jobs.first) {
			return false
		}
		l.served += unit
		if l.jobs.first = l.jobs.first.next; l.jobs.first == nil {
			heap.Pop(&turns)
		} else {
			heap.Fix(&turns, 0)
		}
	}
	return true
}

func (o *fairOrder) level(priority int32) *level {
	i, found := o.search(priority)
	if !found {
		v := &level{priority: priority, lanes: map[*account]*lane{}}
		o.levels = slices.Insert(o.levels, i, v)
	}
	return o.levels[i]
}

func (o *fairOrder) search(priority int32) (int, bool) {
	return slices.BinarySearchFunc(o.levels, priority, func(v *level, p int32) int { return cmp.Compare(v.priority, p) })
}

func (o *fairOrder) dropEmpty(v *level) {
	if v.front.n > 0 || len(v.lanes) > 0 {
		return
	}
	if i, found := o.search(v.priority); found {
		o.levels = slices.Delete(o.levels, i, i+1)
	}
}

// lanes is the heap of turns: who was served least, then whose job is oldest.
type lanes []*lane

// top returns whose turn it is. An account may have been served elsewhere since
// the heap was put in order; that only moves it back, so looking at the top is
// enough.
func (h *lanes) top() *lane {
	for {
		l := (*h)[0]
		if l.served == l.account.served {
			return l
		}
		l.served = l.account.served
		heap.Fix(h, 0)
	}
}

func (h lanes) Len() int { return len(h) }

func (h lanes) Less(a, b int) bool {
	if h[a].served != h[b].served {
		return h[a].served < h[b].served
	}
	return h[a].jobs.first.seq < h[b].jobs.first.seq
}

func (h lanes) Swap(a, b int) {
	h[a], h[b] = h[b], h[a]
	h[a].index, h[b].index = a, b
}

// Push is heap.Interface's.
func (h *lanes) Push(x any) {
	l := x.(*lane)
	l.index = len(*h)
	*h = append(*h, l)
}

// Pop is heap.Interface's.
func (h *lanes) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}
