package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// clients is how many use the grid at a time, each in four ways at once.
const clients = 4

// Load is clients that use a grid through all its nodes, and what they were told.
type Load struct {
	endpoints []*endpoint
	ran       string // the directory in which actions leave their traces
	run       uint64 // tells this run's keys from those of others

	cacheKeys    cacheKeys
	cacheHistory *history
	opHistory    *history
	operations   operations
	ledger       blobLedger
	complaints   complaints

	entries, actions, unavailable atomic.Int64

	judge  *caller
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// StartLoad begins to use the grid whose nodes serve at the addresses. Traces of
// actions go beneath dir. End it with Close.
func StartLoad(ctx context.Context, dir string, servers []string, random *rand.Rand) (*Load, error) {
	l := &Load{ran: filepath.Join(dir, "ran"), run: random.Uint64(), cacheHistory: newHistory(), opHistory: newHistory()}
	if err := os.MkdirAll(l.ran, 0o755); err != nil {
		return nil, err
	}
	for _, address := range servers {
		e, err := dialEndpoint(address)
		if err != nil {
			l.Close()
			return nil, err
		}
		l.endpoints = append(l.endpoints, e)
	}
	ctx, l.cancel = context.WithCancel(ctx)
	for id := range clients {
		for i, do := range []func(*caller, context.Context){(*caller).useCache, (*caller).useBlobs, (*caller).useActions, (*caller).watchOperations} {
			c := &caller{Load: l, id: id, random: rand.New(rand.NewPCG(random.Uint64(), uint64(i)))}
			l.wg.Go(func() { do(c, ctx) })
		}
	}
	l.judge = &caller{Load: l, id: clients, random: rand.New(rand.NewPCG(random.Uint64(), clients))}
	return l, nil
}

// Close ends the load at once.
func (l *Load) Close() {
	l.halt()
	for _, e := range l.endpoints {
		e.close()
	}
}

// halt ends the clients and waits for them.
func (l *Load) halt() {
	if l.cancel != nil {
		l.cancel()
	}
	l.wg.Wait()
}

// Complaints is what clients had to complain about until now: any error but
// UNAVAILABLE, or a result that is wrong.
func (l *Load) Complaints() error { return l.complaints.err() }

// Find looks for every acknowledged blob through one of the nodes.
func (l *Load) Find(ctx context.Context) error {
	return l.judge.try(ctx, "look for all blobs", l.findAll)
}

// Judge ends the clients and checks everything that was acknowledged, on a grid
// that is whole again. The load is of no use afterwards.
func (l *Load) Judge(ctx context.Context) error {
	l.halt()
	if l.actions.Load() == 0 || l.entries.Load() == 0 {
		return errors.Join(l.Complaints(), errors.New("the load achieved nothing: it took no action to its end"))
	}
	// All of them: each tells something else about the same fault.
	return errors.Join(l.Complaints(),
		l.judge.finishAll(ctx), l.judge.readAllEntries(ctx), l.judge.readAll(ctx), l.executions(),
		named("the action cache", l.cacheHistory.check(cacheModel())),
		named("operations", l.opHistory.check(operationModel())))
}

func named(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// String counts what was done.
func (l *Load) String() string {
	return fmt.Sprintf("%d actions, %d entries of the cache put or got, %d blobs, %d events in histories, %d calls repeated after UNAVAILABLE",
		l.actions.Load(), l.entries.Load(), len(l.ledger.list()), l.cacheHistory.len()+l.opHistory.len(), l.unavailable.Load())
}
