package sched

// order decides which job of a class goes first. It is the seam for other
// policies: fairOrder is the one there is.
type order interface {
	push(j *job)   // j waits from now on
	remove(j *job) // j waits no longer
	head() *job    // who goes first, nil when none waits
	len() int
	// each visits the waiting jobs in the order in which they would go if nothing
	// else came, until visit returns false.
	each(visit func(j *job) bool)
}

// ahead tells whether a goes before b, both heads of their class: priority, then
// those that were interrupted, then the account that had less, then age.
func (s *Scheduler) ahead(a, b *job) bool {
	if a.row.Priority != b.row.Priority {
		return a.row.Priority < b.row.Priority
	}
	if a.row.Front != b.row.Front {
		return a.row.Front
	}
	if a.lane != nil && b.lane != nil && a.lane.account != b.lane.account {
		if x, y := a.lane.account.served, b.lane.account.served; x != y {
			return x < y
		}
	}
	return a.seq < b.seq
}

// unit is one job on the ledger's clock; maxCredit bounds how far an account may
// lag behind the clock: whose jobs no worker could take for long does not get
// them all at once before everyone else.
const (
	unit      = 1 << 20
	maxCredit = 4 * unit
)

// account is an invocation's share: how much it was served, in units, on the
// ledger's clock.
type account struct {
	id     string
	jobs   int // waiting
	served uint64
}

// ledger holds the accounts of those who have jobs waiting. It is start-time fair
// queueing: a newcomer begins at the clock, so that it is served in turn at once
// and saves nothing up while it is away. The clock ages with each job by what
// everyone's share of it was; otherwise an endless row of newcomers, each with
// one job, would all begin before an old account and starve it.
type ledger struct {
	accounts map[string]*account
	clock    uint64
}

func (l *ledger) enter(id string) *account {
	a := l.accounts[id]
	if a == nil {
		a = &account{id: id, served: l.clock}
		l.accounts[id] = a
	}
	a.jobs++
	return a
}

func (l *ledger) leave(a *account) {
	a.jobs--
	if a.jobs == 0 {
		delete(l.accounts, a.id)
	}
}

// charge notes that a job of a was dispatched while so many accounts shared its
// queue. The clock never passes the end of what is served.
func (l *ledger) charge(a *account, sharing int) {
	share := unit / uint64(max(sharing, 1))
	l.clock = max(l.clock, a.served, min(l.clock+share, a.served+unit))
	a.served = max(a.served, l.clock-min(l.clock, maxCredit)) + unit
}

// jobList is a list of waiting jobs, oldest first.
type jobList struct {
	first, last *job
	n           int
}

// insert puts j where its age belongs. New jobs go to the end, those that return
// to the beginning: both without a walk.
func (l *jobList) insert(j *job) {
	after := l.last
	if l.first != nil && j.seq < l.first.seq {
		after = nil
	}
	for after != nil && after.seq > j.seq {
		after = after.prev
	}
	j.list, j.prev = l, after
	if after == nil {
		j.next, l.first = l.first, j
	} else {
		j.next, after.next = after.next, j
	}
	if j.next == nil {
		l.last = j
	} else {
		j.next.prev = j
	}
	l.n++
}

func (l *jobList) remove(j *job) {
	if j.prev == nil {
		l.first = j.next
	} else {
		j.prev.next = j.next
	}
	if j.next == nil {
		l.last = j.prev
	} else {
		j.next.prev = j.prev
	}
	j.list, j.prev, j.next = nil, nil, nil
	l.n--
}
