package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// group is one Apply.
type group struct {
	m      *Machine
	first  uint64
	cmds   []*commandpb.Command
	at     time.Time // of the command that is being applied
	time   time.Time // of the last command that changed the queue
	tx     *queue.Tx
	writes []queue.ActionCacheWrite
	taken  int // of the queue's writes, those in writes already
}

// commit applies the group and makes it durable.
func (g *group) commit(ctx context.Context) (Applied, error) {
	out := Applied{Index: g.first + uint64(len(g.cmds)) - 1, Results: make([]Result, len(g.cmds))}
	synced := g.sync(ctx)
	err := g.apply(ctx, &out)
	if syncErr := <-synced; syncErr != nil {
		err = errors.Join(err, fmt.Errorf("sync blobs: %w", syncErr))
	}
	if err == nil && len(g.writes) > 0 {
		if err = g.m.o.ActionCache.Apply(out.Index, g.writes); err != nil {
			err = fmt.Errorf("write action cache: %w", err)
		}
	}
	switch {
	case g.tx == nil:
	case err == nil && g.tx.Changes() > 0:
		err = g.tx.Commit(out.Index, g.time)
	default: // an index that changed nothing here need not be remembered here
		err = errors.Join(err, g.tx.Rollback())
	}
	return out, err
}

// sync begins to make the blobs durable that the group may name.
func (g *group) sync(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	if g.m.o.SyncBlobs == nil || !slices.ContainsFunc(g.cmds, func(c *commandpb.Command) bool {
		return slices.ContainsFunc(c.Entries, namesBlobs)
	}) {
		done <- nil
		return done
	}
	go func() { done <- g.m.o.SyncBlobs(ctx) }()
	return done
}

// apply applies each command to a transaction, up to but without its commit.
func (g *group) apply(ctx context.Context, out *Applied) (err error) {
	if g.tx, err = g.m.o.Queue.Begin(ctx); err != nil {
		return err
	}
	if g.time = g.m.o.Queue.AppliedTime(); g.time.IsZero() {
		g.time = time.Unix(0, 0).UTC() // the tables say never by 0
	}
	inQueue, inCache := g.m.o.Queue.AppliedIndex(), g.m.o.ActionCache.AppliedIndex()
	for i, c := range g.cmds {
		r := &out.Results[i]
		if r.Index = g.first + uint64(i); r.Index <= inQueue {
			continue
		}
		if err := g.command(c, r, inCache); err != nil {
			return fmt.Errorf("apply command %d: %w", r.Index, err)
		}
	}
	out.Events = g.tx.Events()
	if g.tx.Changes() > 0 {
		return g.tx.Prepare(out.Index, g.time)
	}
	return nil
}

// maxTime, in the year 2116, bounds what a broken clock can do: later times than
// it still fit.
const maxTime = 1 << 62

// command applies one command. The time moves on only with what the queue will
// remember: a node that was restarted must give the next command the same time as
// one that was not. The action cache gets nothing that it has already.
func (g *group) command(c *commandpb.Command, r *Result, inCache uint64) error {
	if g.at = time.Unix(0, min(c.TimeNanos, maxTime)).UTC(); !g.at.After(g.time) {
		g.at = g.time.Add(1)
	}
	r.Time, r.Errors = g.at, make([]error, len(c.Entries))
	changes, writes := g.tx.Changes(), len(g.writes)
	for k, e := range c.Entries {
		r.Errors[k] = g.entry(e)
		if err := g.tx.Err(); err != nil {
			return err
		}
		if errors.Is(r.Errors[k], ErrUnknownCommand) {
			return r.Errors[k]
		}
	}
	if g.tx.Changes() > changes {
		g.time = g.at
	}
	if r.Index <= inCache {
		g.writes = g.writes[:writes]
	}
	for k := range g.writes[writes:] {
		g.writes[writes+k].Index = r.Index
	}
	return nil
}

// entry applies one entry. It returns why it was refused.
func (g *group) entry(e *commandpb.Entry) error {
	switch e := e.Entry.(type) {
	case *commandpb.Entry_ActionCachePut:
		return g.put(e.ActionCachePut)
	case *commandpb.Entry_ActionCacheEvict:
		return g.evict(e.ActionCacheEvict)
	}
	err := g.queueEntry(e)
	asked := g.tx.ActionCacheWrites()
	g.writes = append(g.writes, asked[g.taken:]...)
	g.taken = len(asked)
	return err
}

// queueEntry applies an entry that is for the queue.
func (g *group) queueEntry(e *commandpb.Entry) error {
	switch e := e.Entry.(type) {
	case *commandpb.Entry_Submit:
		return g.tx.Submit(g.at, e.Submit)
	case *commandpb.Entry_Attach:
		return g.tx.Attach(g.at, e.Attach)
	case *commandpb.Entry_Assign:
		return g.tx.Assign(g.at, e.Assign)
	case *commandpb.Entry_Complete:
		return g.tx.Complete(g.at, e.Complete)
	case *commandpb.Entry_Requeue:
		return g.tx.Requeue(g.at, e.Requeue)
	case *commandpb.Entry_CancelOperation:
		return g.tx.CancelOperation(g.at, e.CancelOperation)
	case *commandpb.Entry_DeleteOperation:
		return g.tx.DeleteOperation(g.at, e.DeleteOperation)
	case *commandpb.Entry_OpenSession:
		return g.tx.OpenSession(g.at, e.OpenSession)
	case *commandpb.Entry_UpdateSession:
		return g.tx.UpdateSession(g.at, e.UpdateSession)
	case *commandpb.Entry_CloseSession:
		return g.tx.CloseSession(g.at, e.CloseSession)
	case *commandpb.Entry_Prune:
		return g.tx.Prune(g.at, e.Prune)
	}
	return fmt.Errorf("%w: entry %T", ErrUnknownCommand, e.Entry) // a kind that was added to the proto alone
}

// put asks the action cache for an entry.
func (g *group) put(m *commandpb.ActionCachePut) (err error) {
	w := queue.ActionCacheWrite{Instance: m.GetInstance()}
	if w.Action, err = queue.DigestFromProto(m.GetAction()); err != nil {
		return err
	}
	switch r := m.Result.(type) {
	case *commandpb.ActionCachePut_ActionResult:
		w.Result = r.ActionResult
	case *commandpb.ActionCachePut_ActionResultBlob:
		if w.ResultBlob, err = queue.DigestFromProto(r.ActionResultBlob); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: no result", queue.ErrMalformed)
	}
	g.writes = append(g.writes, w)
	return nil
}

// evict asks the action cache to forget an entry.
func (g *group) evict(m *commandpb.ActionCacheEvict) error {
	action, err := queue.DigestFromProto(m.GetAction())
	if err != nil {
		return err
	}
	g.writes = append(g.writes, queue.ActionCacheWrite{
		Instance: m.Instance, Action: action, Evict: true, IfWrittenAtOrBefore: m.WrittenIndex,
	})
	return nil
}
