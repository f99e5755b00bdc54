package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
)

// Propose implements Proposer. On a member that does not lead, the error is
// ErrNotProposed and ErrNotLeader; one that is ErrLeadershipLost says that the
// next leader may commit the command or drop it.
func (r *Raft) Propose(ctx context.Context, entries ...*commandpb.Entry) (Result, error) {
	if r.raft().State() != raft.Leader {
		return Result{}, fmt.Errorf("propose: %w: %w", ErrNotProposed, ErrNotLeader)
	}
	return r.intake.propose(ctx, entries)
}

// commit hands groups to the log until Close. A group is gathered as late as it
// can be: once there is room for it on the way.
func (r *Raft) commit() {
	for {
		select {
		case r.slots <- struct{}{}:
		case <-r.intake.stop:
			return
		}
		group, ok := r.intake.next()
		if !ok {
			return
		}
		if len(group) == 0 {
			<-r.slots
			continue
		}
		r.begin(group)
	}
}

// begin appends a group to the log. Its outcome is waited for elsewhere.
func (r *Raft) begin(group []*proposal) {
	data, err := encodeGroup(commands(group, r.o.Now().UnixNano()))
	if err == nil {
		err = r.failure.get()
	}
	if err != nil {
		<-r.slots
		refuse(group, fmt.Errorf("%w: %w", ErrNotProposed, err))
		return
	}
	f := r.flights.add(group)
	pending := r.raft().Apply(data, 0)
	if !r.work.run(func() {
		defer func() { <-r.slots }()
		f.finish(pending)
	}) {
		f.refuse(ErrStopped)
	}
}

// proposalError says of Raft's error what callers need to know: whether the entry
// can still be committed, which is so from when it was given an index.
func proposalError(err error, appended bool) error {
	if appended {
		switch {
		case errors.Is(err, raft.ErrLeadershipLost):
			return fmt.Errorf("%w: %w", ErrLeadershipLost, err)
		case errors.Is(err, raft.ErrRaftShutdown):
			return fmt.Errorf("%w: %w", ErrStopped, err)
		}
		return err
	}
	if errors.Is(err, raft.ErrRaftShutdown) {
		return fmt.Errorf("%w: %w", ErrNotProposed, ErrStopped)
	}
	return fmt.Errorf("%w: %w: %w", ErrNotProposed, ErrNotLeader, err)
}

// flights are the groups on their way through the log.
type flights struct {
	mu  sync.Mutex
	all map[*flight]struct{}
}

// flight is a group on its way.
type flight struct {
	of    *flights
	group []*proposal
}

func (fs *flights) add(group []*proposal) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.all == nil {
		fs.all = map[*flight]struct{}{}
	}
	f := &flight{of: fs, group: group}
	fs.all[f] = struct{}{}
	return f
}

// land tells whether the group still waits for an answer, which the caller gives.
func (f *flight) land() bool {
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	_, flies := f.of.all[f]
	delete(f.of.all, f)
	return flies
}

// finish answers the group when its fate is known, or never can be.
func (f *flight) finish(pending raft.ApplyFuture) {
	if err := pending.Error(); err != nil {
		f.refuse(proposalError(err, pending.Index() > 0))
		return
	}
	out := pending.Response().(entryOutcome)
	if out.err != nil {
		f.refuse(out.err)
	} else if f.land() {
		answer(f.group, out.applied.Results)
	}
}

func (f *flight) refuse(err error) {
	if f.land() {
		refuse(f.group, err)
	}
}

// refuseAll answers all groups: they may have been committed, and will be applied
// here some time.
func (fs *flights) refuseAll(err error) {
	fs.mu.Lock()
	all := fs.all
	fs.all = nil
	fs.mu.Unlock()
	for f := range all {
		refuse(f.group, err)
	}
}
