package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

// row is one line of the table.
type row struct {
	name   string
	unit   string
	target float64 // what the ratio (or, without a floor, the value) should reach
	limit  bool    // the value should not exceed target: there is no floor
	least  bool    // the value, not the ratio, should reach target
	// prepare is called once and returns the two measurements, each of which takes
	// about one duration and returns a rate (or a value). floor may be nil.
	prepare func(ctx context.Context, b *bench) (floor, product measurement, err error)
}

// measurement returns one figure.
type measurement func(ctx context.Context) (float64, error)

// bench is what rows share.
type bench struct {
	options
	work string // temporary
	node *process
	null *process

	botNodes map[int]*process // by the number of unmatchable actions in their queues
	grids    []*harness.Cluster
	others   []*process
}

func allRows() []row {
	rows := []row{findMissingRow()}
	rows = append(rows, batchUpdateRows()...)
	rows = append(rows, batchReadRow(), getResultRow(), updateResultRow(), executeCachedRow(), realActionsRow())
	rows = append(rows, runnerRows()...)
	rows = append(rows, streamRows()...)
	rows = append(rows, botRows()...)
	rows = append(rows, clusterRows()...)
	rows = append(rows, startupRows()...)
	rows = append(rows, memoryRows()...)
	return append(rows, rawRows()...)
}

// run measures the rows that are asked for and prints the table.
func run(ctx context.Context, o options) error {
	work, err := os.MkdirTemp(o.dir, "bgrid-bench-")
	if err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	defer os.RemoveAll(work)
	b := &bench{options: o, work: work}
	if b.binary == "" {
		if b.binary, err = buildNode(ctx, work); err != nil {
			return err
		}
	}
	defer b.stop()
	t := newTable(o.json)
	for _, r := range allRows() {
		if !o.only.MatchString(r.name) {
			continue
		}
		figure, err := b.measure(ctx, r)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t.add(r, figure, err)
	}
	return t.finish()
}

// measure alternates floor and product, so that noise meets both alike.
func (b *bench) measure(ctx context.Context, r row) (figures, error) {
	var f figures
	floor, product, err := r.prepare(ctx, b)
	if err != nil {
		return f, fmt.Errorf("prepare: %w", err)
	}
	for i := range b.rounds {
		if floor != nil {
			v, err := floor(ctx)
			if err != nil {
				return f, fmt.Errorf("floor: %w", err)
			}
			f.floors = append(f.floors, v)
		}
		if product == nil {
			continue
		}
		done := b.profile(ctx, r, i)
		v, err := product(ctx)
		done()
		if err != nil {
			return f, fmt.Errorf("bgrid-node: %w", err)
		}
		f.products = append(f.products, v)
	}
	return f, nil
}

// servers starts the node and the null server that most rows share.
func (b *bench) servers(ctx context.Context) (node, null *process, err error) {
	if b.node == nil {
		if b.node, err = startNode(ctx, b.binary, filepath.Join(b.work, "node"), b.args); err != nil {
			return nil, nil, err
		}
	}
	if b.null == nil {
		if b.null, err = startNull(ctx, b.work); err != nil {
			return nil, nil, err
		}
	}
	return b.node, b.null, nil
}

func (b *bench) stop() {
	b.node.kill()
	b.null.kill()
	for _, p := range b.botNodes {
		p.kill()
	}
	for _, p := range b.others {
		p.kill()
	}
	for _, c := range b.grids {
		c.Close()
	}
}
