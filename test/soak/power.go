package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

const powerRounds = 15

// powerLoop cuts the power: it copies the image of the file system in which a
// node writes, as the block device has it at that moment, without what was not
// synced. The next node starts on the copy.
func powerLoop(ctx context.Context, s *settings) error {
	if err := loopDevices(ctx, s.dir); err != nil {
		return fmt.Errorf("this machine cannot mount images, so that no power was cut: %w", err)
	}
	p := &power{settings: s, random: s.random(3), marker: fmt.Sprintf("%d-%d", os.Getpid(), s.seed)}
	defer p.close()
	d, err := newDisk(ctx, filepath.Join(s.dir, "disk-0"))
	if err != nil {
		return err
	}
	p.disk = d
	if err := p.start(ctx); err != nil {
		return err
	}
	rounds := s.rounds
	if rounds == 0 {
		rounds = powerRounds
	}
	for i := 1; i <= rounds; i++ {
		if err := p.round(ctx, i); err != nil {
			return fmt.Errorf("round %d: %w\nlog of the node:\n%s", i, err, p.node.Log())
		}
	}
	s.say("power: %d rounds; %s (lost: acknowledged blobs that nothing durable names, as is allowed)", rounds, &p.counts)
	return nil
}

// power is the state of the loop.
type power struct {
	*settings
	random *rand.Rand
	marker string
	disk   *disk
	node   *harness.Node
	counts counts
}

func (p *power) start(ctx context.Context) (err error) {
	p.node, err = harness.Launch(ctx, harness.Options{
		Binary: p.binary, Dir: filepath.Join(p.disk.mount, "data"), Args: []string{"--cas-max-size", "1GiB"},
	})
	return err
}

// close ends the node and takes the disk away.
func (p *power) close() {
	if p.node != nil {
		p.node.Kill()
	}
	if p.disk != nil {
		_ = p.disk.remove()
	}
}

// round loads the node, cuts the power, and checks what a node that starts on
// what was left has kept.
func (p *power) round(ctx context.Context, i int) error {
	l, err := startLoad(ctx, p.node, p.marker, p.random)
	if err != nil {
		return err
	}
	moment := leastLoad + time.Duration(p.random.Int64N(int64(4*time.Second)))
	select {
	case <-time.After(moment):
	case <-ctx.Done():
	}
	next, kept, err := p.cut(ctx, i, l)
	l.stop()
	if err != nil {
		return err
	}
	p.node.Kill()
	if err := harness.AwaitNoSurvivors(ctx, markerName+"="+p.marker, survivorPatience); err != nil {
		return err
	}
	old := p.disk
	p.disk = next
	if err := errors.Join(old.remove(), next.attach(ctx)); err != nil {
		return err
	}
	if err := inspect(ctx, filepath.Join(next.mount, "data")); err != nil {
		return fmt.Errorf("inspect the stores after the cut: %w", err)
	}
	if err := p.start(ctx); err != nil {
		return err
	}
	accepted, unfinished := kept.unfinished()
	p.say("power: round %d: cut after %s: %d operations accepted, %d of them unfinished, %d blobs", i,
		moment.Round(time.Millisecond), accepted, unfinished, len(kept.blobs))
	return verify(ctx, p.node, kept, true, &p.counts)
}

// cut stops the node, copies its disk, and returns the copy with what had been
// acknowledged before it was made.
func (p *power) cut(ctx context.Context, i int, l *load) (*disk, *ledger, error) {
	// Stopped, it answers nobody: what clients heard was true before the copy.
	if err := syscall.Kill(p.node.Pid(), syscall.SIGSTOP); err != nil {
		return nil, nil, err
	}
	next, err := p.disk.copyAsIs(ctx, filepath.Join(p.dir, fmt.Sprintf("disk-%d", i)))
	return next, l.ledger.snapshot(), err
}
