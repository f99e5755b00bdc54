package raftfsm

import (
	"context"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// patientStable keeps Raft's term and vote. Raft panics when its term cannot be
// written, so a disk that is full or fails for a while is waited for: a member
// that does not answer does less harm than one that is gone.
type patientStable struct {
	raft.StableStore
	stop context.Context //nolint:containedctx // ends with the proposer
	log  *slog.Logger
}

// Set implements raft.StableStore.
func (s patientStable) Set(k, v []byte) error {
	return s.retry(string(k), func() error { return s.StableStore.Set(k, v) })
}

// SetUint64 implements raft.StableStore.
func (s patientStable) SetUint64(k []byte, v uint64) error {
	return s.retry(string(k), func() error { return s.StableStore.SetUint64(k, v) })
}

// retry does a write until it succeeds. When the proposer is closed before, it
// fails; but for the term, for which that would be a panic: Raft ends then too, and
// without the vote, which comes after it, a term commits it to nothing.
func (s patientStable) retry(key string, do func() error) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := do()
		if err == nil {
			return nil
		}
		if s.stop.Err() != nil {
			if key == keyTerm {
				return nil
			}
			return err
		}
		if wait == firstRetry {
			s.log.Error("cannot write the state of Raft, trying again", "key", key, "error", err)
		}
		select {
		case <-time.After(wait):
		case <-s.stop.Done():
		}
	}
}
