package sched

// recentMost is how many ended operations are remembered for people.
const recentMost = 100

// recent is a ring of the operations that ended last, one for each job.
type recent struct {
	ring [recentMost]*operation
	n    int // ever added
}

func (r *recent) add(op *operation) {
	r.ring[r.n%recentMost] = op
	r.n++
}

// latest returns the last ones, the latest first.
func (r *recent) latest(most int) []*operation {
	out := make([]*operation, 0, min(most, r.n, recentMost))
	for i := r.n - 1; i >= 0 && len(out) < cap(out); i-- {
		out = append(out, r.ring[i%recentMost])
	}
	return out
}
