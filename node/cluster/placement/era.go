package placement

import (
	"sync"
	"sync/atomic"
	"time"
)

// eras numbers the spans of time in which a blob that was found on enough members
// stays there: one bucket of the storage's protection at most, and over when
// something was lost.
type eras struct {
	mu      sync.Mutex
	last    uint64
	current atomic.Pointer[era]
}

type era struct {
	number uint64 // from 1
	bucket int64  // of the wall clock, which also passes while the machine sleeps
	epoch  uint64 // of losses
	ends   time.Time
}

// era returns the number of the current era. It is asked for before members are
// asked for blobs, as losses meanwhile must end it.
func (b *Blobs) era() uint64 {
	e, span := &b.eras, max(b.Bucket(), time.Millisecond)
	at, epoch := time.Now(), b.LossEpoch()
	if c := e.current.Load(); c != nil && c.holds(at, epoch, span) {
		return c.number
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	at, epoch = time.Now(), b.LossEpoch()
	if c := e.current.Load(); c != nil && c.holds(at, epoch, span) {
		return c.number
	}
	e.last++
	e.current.Store(&era{number: e.last, bucket: at.UnixNano() / int64(span), epoch: epoch, ends: at.Add(span)})
	return e.last
}

func (c *era) holds(at time.Time, epoch uint64, span time.Duration) bool {
	return c.epoch == epoch && c.bucket == at.UnixNano()/int64(span) && at.Before(c.ends)
}
