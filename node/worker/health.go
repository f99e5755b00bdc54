package worker

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/runners"
)

// When a worker takes no leases.
const (
	// failuresInRow ends that could have been better elsewhere make a worker rest: its
	// runner is broken, or its disk, and it would eat up the attempts of every job.
	failuresInRow = 5
	firstRest     = 30 * time.Second
	longestRest   = 10 * time.Minute

	diskEvery = 5 * time.Second
	leastFree = 128 << 20 // bytes: below, no action can lay out its inputs
)

// health is whether the worker should be given leases. The zero value is healthy.
type health struct {
	full     bool // its disk is
	failures int  // in a row
	rest     time.Duration
	until    time.Time // of the rest
}

func (h *health) bad(now time.Time) bool { return h.full || now.Before(h.until) }

// count looks at how a lease ended. After a rest the next failure begins another,
// twice as long; a success forgets all.
func (h *health) count(c runners.Completion, log *slog.Logger) {
	switch code.Code(c.Status.GetCode()) {
	case code.Code_INTERNAL, code.Code_UNAVAILABLE:
		h.failures++
	case code.Code_CANCELLED:
	default:
		if h.rest > 0 {
			log.Info("an action ran: this worker is healthy again")
		}
		h.failures, h.rest = 0, 0
	}
	if now := time.Now(); h.failures >= failuresInRow && !now.Before(h.until) {
		h.failures = failuresInRow - 1
		h.rest = min(max(2*h.rest, firstRest), longestRest)
		h.until = now.Add(h.rest)
		log.Error("actions fail on this worker: it takes no leases for a while", "rest", h.rest, "last", c.Status.GetMessage())
	}
}

// watchDisk looks at the disk now and then, until ctx ends, and has a change of
// health told.
func (w *Worker) watchDisk(ctx context.Context) {
	ticker := time.NewTicker(diskEvery)
	defer ticker.Stop()
	resting := false
	for {
		free, err := freeBytes(w.o.Dir)
		rests := w.link.setFull(err == nil && free < leastFree, free)
		if rests != resting {
			resting = rests
			w.link.tellHealth()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// setFull notes whether the disk is full, and returns whether the worker takes
// no leases. It takes twice the least to be well again.
func (l *link) setFull(full bool, free int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case full && !l.health.full:
		l.log.Error("the disk of the work directory is full: this worker takes no leases", "free", free, "least", leastFree)
		l.health.full = true
	case l.health.full && free >= 2*leastFree:
		l.log.Info("the disk of the work directory has room again", "free", free)
		l.health.full = false
	}
	return l.health.bad(time.Now())
}

func (l *link) tellHealth() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell()
}

func freeBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}
