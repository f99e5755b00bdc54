package invariants

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
)

// State is what one node has, short enough to be compared: nodes that applied the
// same commands have the same.
type State struct {
	QueueIndex uint64    `json:"queueIndex"` // of the last group that changed the queue
	CacheIndex uint64    `json:"cacheIndex"` // of the last group that changed the action cache
	Time       time.Time `json:"time"`       // of the last command that changed the queue
	Queue      string    `json:"queue"`      // SHA-256 of the queue's dump, in hex
	Cache      string    `json:"cache"`      // SHA-256 of the action cache's dump, in hex
}

// Index is how far the node has come.
func (s State) Index() uint64 { return max(s.QueueIndex, s.CacheIndex) }

// Hash is one for both stores, in hex.
func (s State) Hash() string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(s.Queue+s.Cache)))
}

// StateOf reads all of a node's stores. Nothing must be applied meanwhile.
func StateOf(ctx context.Context, q Queue, c Cache) (State, error) {
	s := State{QueueIndex: q.AppliedIndex(), CacheIndex: c.AppliedIndex(), Time: q.AppliedTime()}
	inQueue, inCache := sha256.New(), sha256.New()
	if err := errors.Join(q.Dump(ctx, inQueue), c.Dump(ctx, inCache)); err != nil {
		return s, fmt.Errorf("read state: %w", err)
	}
	s.Queue, s.Cache = fmt.Sprintf("%x", inQueue.Sum(nil)), fmt.Sprintf("%x", inCache.Sum(nil))
	return s, nil
}

// Compare tells where two nodes differ that came equally far. Of a store in
// which they did not, it says nothing.
func Compare(nameA string, a State, nameB string, b State) error {
	var broken []error
	if a.QueueIndex == b.QueueIndex && (a.Queue != b.Queue || !a.Time.Equal(b.Time)) {
		broken = append(broken, fmt.Errorf("%w: the queues of %s and %s differ at index %d: %.12s and %.12s",
			ErrBroken, nameA, nameB, a.QueueIndex, a.Queue, b.Queue))
	}
	if a.CacheIndex == b.CacheIndex && a.Cache != b.Cache {
		broken = append(broken, fmt.Errorf("%w: the action caches of %s and %s differ at index %d: %.12s and %.12s",
			ErrBroken, nameA, nameB, a.CacheIndex, a.Cache, b.Cache))
	}
	return errors.Join(broken...)
}

// Check proves the rules of one node's stores, each by itself and with the other.
// It reads everything. The error has one line for each rule broken.
func Check(ctx context.Context, q Queue, c Cache, limits Limits) error {
	broken := []error{q.Check(ctx), c.Check(ctx)}
	jobs, _, err := q.Unfinished(ctx)
	if err != nil {
		return errors.Join(append(broken, fmt.Errorf("check attempts: %w", err))...)
	}
	for _, j := range jobs {
		if limits.Failures > 0 && j.Failures > limits.Failures || limits.Losses > 0 && j.Losses > limits.Losses {
			broken = append(broken, fmt.Errorf("%w: job %s failed %d times and was interrupted %d times, at most %d and %d are allowed",
				ErrBroken, j.ID, j.Failures, j.Losses, limits.Failures, limits.Losses))
		}
	}
	return errors.Join(broken...)
}
