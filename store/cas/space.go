package cas

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// survivor is the class of the cleaner's own copies.
const survivor Class = -1

// space admits writes. It knows how much the store takes on the disk, how much
// is being written, and how much the disk has left.
type space struct {
	store   *Store
	outside atomic.Int64 // generations that are not in the ring: next ones, dropped ones

	mu         sync.Mutex
	reserved   int64         // bytes of writes under way
	waiting    int           // writers that wait for the cleaner
	wanted     int64         // bytes that they want to write
	progress   chan struct{} // closed when space was made, or cannot be
	stuckUntil time.Time     // the cleaner can do nothing before
	stuck      bool
	diskLeft   int64 // beyond the guard, when last asked
	diskAsked  time.Time
	diskSince  int64 // bytes admitted since
}

func newSpace(s *Store) *space { return &space{store: s, progress: make(chan struct{})} }

// used returns the bytes that the store takes on the disk.
func (p *space) used() int64 {
	total := p.outside.Load()
	for _, g := range p.store.ring() {
		total += g.use()
	}
	return total
}

func (p *space) limit(class Class) int64 {
	switch class {
	case Upload:
		return p.store.geo.uploadLimit
	case survivor:
		return p.store.geo.survivorLimit
	default:
		return p.store.geo.outputLimit
	}
}

// longestWait bounds how long a write waits for the cleaner.
const longestWait = 30 * time.Second

// reserve admits a write of n bytes, or waits until the cleaner made space for
// it, or returns a *FullError. What was reserved is given back with release
// after the write, which then counts by itself.
func (p *space) reserve(ctx context.Context, class Class, n int64) error {
	if p.tryReserve(class, n) {
		return nil
	}
	if limit := p.limit(class); n > limit/2 {
		return &FullError{Reason: fmt.Sprintf("%d bytes at once are too many for a store of %d", n, p.store.opt.MaxBytes), RetryAfter: time.Hour}
	}
	ctx, cancel := context.WithTimeout(ctx, longestWait)
	defer cancel()
	return p.await(ctx, class, n)
}

// tryReserve admits a write if there is room now.
func (p *space) tryReserve(class Class, n int64) bool {
	used := p.used()
	p.mu.Lock()
	defer p.mu.Unlock()
	if used+p.reserved+n > p.limit(class) || !p.fitsDisk(p.reserved+n) {
		return false
	}
	p.reserved += n
	p.diskSince += n
	return true
}

// fitsDisk tells whether n bytes may be written. What the disk had a moment ago is
// good enough to admit a write, not to refuse one. The caller holds mu.
func (p *space) fitsDisk(n int64) bool {
	if p.diskRoom() >= n {
		return true
	}
	p.diskAsked = time.Time{}
	return p.diskRoom() >= n
}

// hasRoom tells whether a write of n bytes would be admitted now.
func (p *space) hasRoom(class Class, n int64) bool {
	ok := p.tryReserve(class, n)
	if ok {
		p.release(n)
	}
	return ok
}

func (p *space) release(n int64) {
	p.mu.Lock()
	p.reserved -= n
	p.mu.Unlock()
}

// await lets the cleaner work and tries again.
func (p *space) await(ctx context.Context, class Class, n int64) error {
	p.mu.Lock()
	p.waiting++
	p.wanted += n
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.waiting--
		p.wanted -= n
		p.mu.Unlock()
	}()
	for {
		p.mu.Lock()
		progress, stuck, retry := p.progress, p.stuck, time.Until(p.stuckUntil)
		p.mu.Unlock()
		if p.tryReserve(class, n) {
			return nil
		}
		if stuck && retry > 0 {
			return p.full(retry)
		}
		p.store.wake(p.store.cleaning)
		select {
		case <-progress:
		case <-p.store.done:
			return ErrClosed
		case <-ctx.Done():
			if context.Cause(ctx) == context.DeadlineExceeded {
				return p.full(longestWait)
			}
			return context.Cause(ctx)
		}
	}
}

func (p *space) full(retry time.Duration) *FullError {
	p.store.counters.refused.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	reason := fmt.Sprintf("everything in it was used within the protection window of %s", p.store.window)
	if p.diskRoom() <= p.reserved {
		reason, retry = "the disk is full", min(retry, 5*time.Minute) // whoever filled it may empty it
	}
	return &FullError{Reason: reason, RetryAfter: retry}
}

// diskRoom returns how many bytes may be written before the disk has less free
// than Badger's mapped logs may need: writing to a mapping on a full disk kills
// the process. The caller holds mu.
func (p *space) diskRoom() int64 {
	const askAgain = 100 * time.Millisecond
	const askAfter = 16 << 20
	now := time.Now()
	if p.diskAsked.IsZero() || now.Sub(p.diskAsked) > askAgain || now.Before(p.diskAsked) || p.diskSince > askAfter {
		var st unix.Statfs_t
		if err := unix.Statfs(p.store.opt.Dir, &st); err == nil {
			p.diskLeft = int64(st.Bavail)*st.Bsize - p.guard()
		}
		p.diskAsked, p.diskSince = now, 0
	}
	return p.diskLeft - p.diskSince
}

// diskFull tells whether the disk has less free than Badger may write to mappings.
func (p *space) diskFull() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.diskAsked = time.Time{}
	return p.diskRoom() < 0
}

// notice looks at the error of a write: when the disk was full, whoever comes next
// asks how much it has left.
func (p *space) notice(err error) error {
	var full *FullError
	if errors.As(err, &full) {
		p.store.counters.refused.Add(1)
		p.mu.Lock()
		p.diskAsked = time.Time{}
		p.mu.Unlock()
		p.look()
	}
	return err
}

// guard is four memtables and what may be written between two looks.
func (p *space) guard() int64 { return p.store.geo.spare }

// short tells whether the cleaner has to work, and whether writers wait for it.
func (p *space) short() (short, pressed bool) {
	used := p.used()
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := min(p.wanted, p.store.geo.generation)
	short = used+p.reserved+wanted > p.store.geo.cleanAbove || p.diskRoom() < p.guard()+wanted
	return short, p.waiting > 0
}

// look wakes the cleaner when it has to work.
func (p *space) look() {
	if short, _ := p.short(); short {
		p.store.wake(p.store.cleaning)
	}
}

// made tells those who wait that there is more space.
func (p *space) made() { p.tell(false, time.Time{}) }

// cannot tells them that there will be none before the given time.
func (p *space) cannot(until time.Time) { p.tell(true, until) }

func (p *space) tell(stuck bool, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stuck, p.stuckUntil = stuck, until
	close(p.progress)
	p.progress = make(chan struct{})
}
