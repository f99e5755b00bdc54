package raftfsm

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// closeLimit bounds how long Close waits for calls to peers to end.
const closeLimit = 10 * time.Second

// Close stops the member where it is; leadership is handed over by Transfer,
// before. Proposals that are waiting get ErrNotProposed and ErrStopped, those on
// their way ErrStopped if their fate is not known soon. Nothing is applied any
// more. The transport is closed.
func (r *Raft) Close() error {
	r.closeOnce.Do(func() { r.closeErr = r.close() })
	return r.closeErr
}

func (r *Raft) close() error {
	r.cancel()
	r.intake.close()
	// Raft forgets to answer what it had handed to the state machine when it is
	// shut down. So it gets the time that a leader needs to commit what is on its
	// way, or to learn that it cannot.
	r.work.close(2 * r.o.ElectionTimeout)
	down := r.raft().Shutdown()
	var errs []error
	if c, ok := r.o.Transport.(raft.WithClose); ok {
		errs = append(errs, c.Close()) // which ends the calls that are under way
	}
	ended := make(chan error, 1)
	go func() { ended <- down.Error() }()
	select {
	case err := <-ended:
		errs = append(errs, err)
	case <-time.After(closeLimit):
		close(r.intake.done)
		return errors.Join(append(errs, fmt.Errorf("close raft: a call to a peer has not ended within %s", closeLimit))...)
	}
	r.lead.close()
	close(r.intake.done)
	if err := errors.Join(append(errs, r.closeStore())...); err != nil {
		return fmt.Errorf("close raft: %w", err)
	}
	return nil
}

func (r *Raft) closeStore() error {
	if r.store == nil {
		return nil
	}
	return r.store.Close()
}
