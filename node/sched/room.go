package sched

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Resources is what a worker has for its leases beside slots, or what an action
// needs of it. 0 is: not said.
type Resources struct {
	CPUs   int64 // in thousandths
	Memory int64 // bytes
}

// String writes 1.5 CPUs and 512 MiB of memory; "" for nothing.
func (r Resources) String() string {
	var parts []string
	if r.CPUs == 1000 {
		parts = append(parts, "1 CPU")
	} else if r.CPUs > 0 {
		parts = append(parts, strconv.FormatFloat(float64(r.CPUs)/1000, 'f', -1, 64)+" CPUs")
	}
	if r.Memory > 0 {
		parts = append(parts, bytesText(r.Memory)+" of memory")
	}
	return strings.Join(parts, " and ")
}

func bytesText(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(u.size)), ".0") + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}

func (r Resources) some() bool { return r != Resources{} }

func (r Resources) plus(o Resources) Resources {
	return Resources{r.CPUs + o.CPUs, r.Memory + o.Memory}
}

// fits tells whether need has room beside r within all. What need does not say it
// is not held to, nor what all does not say.
func (r Resources) fits(need, all Resources) bool {
	one := func(r, need, all int64) bool { return need == 0 || all == 0 || need <= all-r }
	return one(r.CPUs, need.CPUs, all.CPUs) && one(r.Memory, need.Memory, all.Memory)
}

// share is what one lease, or the promise of one, takes of its session's room.
type share struct {
	need  Resources
	since uint64 // on the scheduler's sequence; 0: since before this process or session
}

// The methods and functions below need the scheduler's mu.

// occupy takes room, vacate gives it back. Room is not checked: a worker may say
// that it has less than it did.
func (ses *Session) occupy(x share) { ses.account(x.since, x.need, 1) }

func (ses *Session) vacate(x share) {
	ses.account(x.since, Resources{-x.need.CPUs, -x.need.Memory}, -1)
}

func (ses *Session) account(since uint64, need Resources, slots int) {
	ses.used = ses.used.plus(need)
	if k := &ses.kept; k.class != nil && since > k.since {
		k.beside = k.beside.plus(need)
		k.slots += slots
	}
}

// fits tells whether the session has room now for what a job needs.
func (ses *Session) fits(need Resources) bool { return ses.used.fits(need, ses.has) }

// prefers tells whether a should take a job of the class rather than b, both with
// room for it. Jobs that need room go where they leave the least, so that large
// holes stay for large jobs; what is not known counts as the largest.
func (c *class) prefers(a, b *Session) bool {
	if c.need.some() && a.present() == b.present() {
		if x, y := a.left(c.need), b.left(c.need); x != y {
			return x < y
		}
	}
	return a.better(b)
}

// left is how often need would still fit, after it was given room once; the sum
// over CPUs and memory.
func (ses *Session) left(need Resources) float64 {
	one := func(used, need, has int64) float64 {
		switch {
		case need == 0:
			return 0
		case has == 0:
			return math.Inf(1)
		}
		return float64(has-used-need) / float64(need)
	}
	return one(ses.used.CPUs, need.CPUs, ses.has.CPUs) + one(ses.used.Memory, need.Memory, ses.has.Memory)
}
