package actioncache

import (
	"sync"
	"sync/atomic"
	"time"
)

// eras numbers the spans of time in which what was found present stays so: one
// bucket long at most, and over when the storage lost something. Everything
// remembered carries the era in which it was found; so whatever is built of
// remembered parts is as young as its oldest part.
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

// now returns the number of the current era. It must be asked for before the
// presence of blobs is, as losses meanwhile must end it.
func (e *eras) now(blobs Blobs) uint64 {
	at, epoch, span := time.Now(), blobs.LossEpoch(), max(blobs.Bucket(), time.Millisecond)
	if c := e.current.Load(); c != nil && c.holds(at, epoch, span) {
		return c.number
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	at, epoch = time.Now(), blobs.LossEpoch()
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
