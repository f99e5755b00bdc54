package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

const (
	verifiers      = 8
	finishPatience = 2 * time.Minute // for everything that was left unfinished
	mostComplaints = 5
)

// verifier checks a ledger against a restarted node.
type verifier struct {
	c          *client.Client
	mayLose    bool // blobs that nothing durable names: after a power cut
	complaints complaints
	counts
}

// counts is what was checked.
type counts struct{ completed, reread, blobs, lost, results atomic.Int64 }

func (c *counts) String() string {
	return fmt.Sprintf("%d unfinished operations completed, %d finished ones reread, %d results hit, %d blobs read, %d lost",
		c.completed.Load(), c.reread.Load(), c.results.Load(), c.blobs.Load(), c.lost.Load())
}

// add adds another verifier's counts.
func (c *counts) add(o *counts) {
	c.completed.Add(o.completed.Load())
	c.reread.Add(o.reread.Load())
	c.blobs.Add(o.blobs.Load())
	c.lost.Add(o.lost.Load())
	c.results.Add(o.results.Load())
}

// complaints keeps the first of what is wrong.
type complaints struct {
	mu   sync.Mutex
	n    int
	errs []error
}

func (c *complaints) add(err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; len(c.errs) < mostComplaints {
		c.errs = append(c.errs, err)
	}
}

func (c *complaints) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 {
		return nil
	}
	return fmt.Errorf("%d promises broken, among them: %w", c.n, errors.Join(c.errs...))
}

// verify waits for what was unfinished and reads back everything in the ledger.
func verify(ctx context.Context, n *harness.Node, l *ledger, mayLose bool, total *counts) error {
	if err := l.worthwhile(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, finishPatience)
	defer cancel()
	c, err := n.Client(client.Options{Tool: "soak"})
	if err != nil {
		return err
	}
	defer c.Close()
	v := &verifier{c: c, mayLose: mayLose}
	for _, step := range []func(context.Context, *ledger) error{v.operations, v.cached, v.content} {
		if err := step(ctx, l); err != nil {
			return err
		}
	}
	total.add(&v.counts)
	return v.complaints.err()
}

// operations follows each accepted operation to its end, whether the client has
// seen that before or not.
func (v *verifier) operations(ctx context.Context, l *ledger) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * verifiers)
	for _, a := range l.ops {
		g.Go(func() error {
			op, err := v.c.Wait(ctx, a.name, nil)
			if err == nil {
				err = checkOutput(op, a.output)
			}
			if err != nil {
				v.complaints.add(fmt.Errorf("an acknowledged operation (done: %t): %w", a.done, err))
			}
			if a.done {
				v.reread.Add(1)
			} else {
				v.completed.Add(1)
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// cached asks for each result that a client has seen.
func (v *verifier) cached(ctx context.Context, l *ledger) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(verifiers)
	for action, output := range l.results {
		g.Go(func() error {
			r, err := v.c.CachedResult(ctx, action)
			if err == nil && (len(r.GetOutputFiles()) != 1 || r.GetOutputFiles()[0].GetDigest().GetHash() != output.Hex()) {
				err = fmt.Errorf("it names other outputs: %v", r.GetOutputFiles())
			}
			if err == nil {
				err = v.c.Fetch(ctx, output, io.Discard)
			}
			if err != nil {
				v.complaints.add(fmt.Errorf("the acknowledged result of action %s: %w", action, err))
			}
			v.results.Add(1)
			return ctx.Err()
		})
	}
	return g.Wait()
}

// content reads every acknowledged blob; the client verifies what it reads.
func (v *verifier) content(ctx context.Context, l *ledger) error {
	all := l.blobList()
	missing, err := v.c.FindMissing(ctx, all)
	if err != nil {
		return fmt.Errorf("find missing blobs: %w", err)
	}
	lost := map[digest.Digest]bool{}
	for _, d := range missing {
		lost[d] = true
		v.lost.Add(1)
		if !v.mayLose {
			v.complaints.add(fmt.Errorf("the acknowledged blob %s is missing", d))
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(verifiers)
	for _, d := range all {
		if lost[d] {
			continue
		}
		g.Go(func() error {
			if err := v.c.Fetch(ctx, d, io.Discard); err != nil {
				v.complaints.add(fmt.Errorf("a blob that is present: %w", err))
			}
			v.blobs.Add(1)
			return ctx.Err()
		})
	}
	return g.Wait()
}
