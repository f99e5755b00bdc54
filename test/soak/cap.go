package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/test/bazel"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// capSizes are the measures of a cap loop.
type capSizes struct {
	cap    int64         // --cas-max-size
	total  int64         // bytes to upload, several times the cap
	window time.Duration // --protection-window while uploads flow
	full   time.Duration // --protection-window while the store fills up
}

// overCap is how much of the cap the store may take on disk at any moment.
const overCap = 1.05

const capUploaders = 3

func capLoop(ctx context.Context, s *settings) error {
	return capRun(ctx, s, capSizes{cap: 512 << 20, total: 4 << 30, window: 5 * time.Second, full: 30 * time.Second})
}

// capRun lets uploads flow through a small store while actions and builds use
// it, then fills it with protected blobs, until it refuses, and waits until it
// takes blobs again.
func capRun(ctx context.Context, s *settings, z capSizes) error {
	f := &flow{settings: s, capSizes: z, random: s.random(4)}
	n, err := harness.Launch(ctx, harness.Options{Binary: s.binary, Dir: filepath.Join(s.dir, "data"), Args: z.args(z.window)})
	if err != nil {
		return err
	}
	defer func() { n.Kill() }() // whichever it is by then
	f.node = n
	if err := f.run(ctx); err != nil {
		return fmt.Errorf("%w\nlog of the node:\n%s", err, n.Log())
	}
	if err := n.Stop(); err != nil {
		return err
	}
	if err := inspect(ctx, n.Dir); err != nil {
		return fmt.Errorf("inspect the stores: %w", err)
	}
	// A directory of its own: nothing in it is protected yet.
	n, err = harness.Launch(ctx, harness.Options{Binary: s.binary, Dir: filepath.Join(s.dir, "full"), Args: z.args(z.full)})
	if err != nil {
		return err
	}
	if err := fillUp(ctx, s, z, n); err != nil {
		return fmt.Errorf("%w\nlog of the node:\n%s", err, n.Log())
	}
	return nil
}

func (z capSizes) args(window time.Duration) []string {
	return []string{"--cas-max-size", fmt.Sprint(z.cap), "--protection-window", window.String()}
}

// flow is the first part: uploads flow while others rely on what is protected.
type flow struct {
	*settings
	capSizes
	node   *harness.Node
	random *rand.Rand

	left       atomic.Int64 // bytes still to upload
	checked    atomic.Int64 // blobs looked at within their window
	actions    atomic.Int64
	builds     atomic.Int64
	highest    atomic.Int64 // disk use in bytes
	complaints complaints
}

func (f *flow) run(ctx context.Context) error {
	began := time.Now()
	f.left.Store(f.total)
	c, err := f.node.Client(client.Options{Tool: "soak", Patience: 5 * time.Minute})
	if err != nil {
		return err
	}
	defer c.Close()
	flowing, end := context.WithCancel(ctx)
	defer end()
	var uploads, others, checks sync.WaitGroup
	for i := range capUploaders {
		random := rand.New(rand.NewPCG(f.random.Uint64(), uint64(i)))
		uploads.Go(func() { f.complaints.add(f.upload(ctx, c, random, &checks)) })
	}
	random := rand.New(rand.NewPCG(f.random.Uint64(), 99))
	others.Go(func() { f.complaints.add(f.execute(flowing, c, random)) })
	others.Go(func() { f.complaints.add(f.watchDisk(flowing)) })
	if f.bazel {
		others.Go(func() { f.complaints.add(f.build(flowing)) })
	}
	uploads.Wait()
	checks.Wait()
	end()
	others.Wait()
	over := float64(f.highest.Load()) / float64(f.cap)
	f.say("cap: %d MiB through a cap of %d MiB in %s; %d blobs checked within their window of %s, %d actions, %d Bazel builds; disk use at most %.3f of the cap",
		f.total>>20, f.cap>>20, time.Since(began).Round(time.Second), f.checked.Load(), f.window, f.actions.Load(), f.builds.Load(), over)
	if over > overCap {
		f.complaints.add(fmt.Errorf("the store took %.3f of its cap on disk, at most %.2f is promised", over, overCap))
	}
	return errors.Join(f.complaints.err(), ctx.Err())
}

// upload sends blobs until the total is reached, and has some of them looked at
// once within their window; a look protects a blob anew, so that each gets one.
func (f *flow) upload(ctx context.Context, c *client.Client, random *rand.Rand, checks *sync.WaitGroup) error {
	for f.left.Load() > 0 && ctx.Err() == nil {
		var sources []client.Source
		if random.IntN(3) == 0 {
			sources = append(sources, client.Blob(digest.SHA256, fastBytes(random, 4<<20+random.IntN(4<<20))))
		} else {
			for range 32 {
				sources = append(sources, client.Blob(digest.SHA256, fastBytes(random, 1+random.IntN(64<<10))))
			}
		}
		began := time.Now()
		stats, err := c.Upload(ctx, sources, nil)
		if err != nil {
			return fmt.Errorf("upload: %w", err)
		}
		f.left.Add(-stats.SentBytes)
		at := began.Add(time.Duration((0.1 + 0.8*random.Float64()) * float64(f.window)))
		d := sources[random.IntN(len(sources))].Digest
		checks.Go(func() { f.complaints.add(f.look(ctx, c, d, at, began.Add(f.window))) })
	}
	return nil
}

// look asks whether a blob is still there at a moment. An answer that comes after
// the end of its window proves nothing.
func (f *flow) look(ctx context.Context, c *client.Client, d digest.Digest, at, end time.Time) error {
	wait := time.Until(at)
	if wait < 0 {
		return nil
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return ctx.Err()
	}
	missing, err := c.FindMissing(ctx, []digest.Digest{d})
	if err != nil || time.Now().After(end) {
		return err
	}
	f.checked.Add(1)
	if len(missing) > 0 {
		return fmt.Errorf("the acknowledged blob %s was lost %s before the end of its window of %s", d, time.Until(end), f.window)
	}
	return nil
}

// execute runs actions one after the other until ctx ends. They may be slow, as
// their uploads wait for room, but never fail, unless uploading took so long that
// the window of what was uploaded first had passed.
func (f *flow) execute(ctx context.Context, c *client.Client, random *rand.Rand) error {
	for ctx.Err() == nil {
		err := f.executeOne(ctx, c, random)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("execute while uploads flow: %w", err)
		}
		f.actions.Add(1)
	}
	return nil
}

func (f *flow) executeOne(ctx context.Context, c *client.Client, random *rand.Rand) error {
	a, err := newAction(random, "cap")
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := c.Upload(ctx, a.sources, nil); err != nil {
		return err
	}
	op, err := c.Execute(ctx, client.Execution{Action: a.digest}, nil)
	if len(client.MissingBlobs(err)) > 0 && time.Since(began) > f.window {
		return nil
	}
	if err != nil {
		return err
	}
	return a.check(op)
}

// build builds one workspace again and again, from the cache as far as that has
// it. A build must never fail: what its cache hits name is protected.
func (f *flow) build(ctx context.Context) error {
	w, err := bazel.New(filepath.Join(f.dir, "bazel"), f.node.GRPC, harness.Instance, 32, 7)
	if err != nil {
		return err
	}
	defer func() { _ = w.Remove() }()
	w.Flags = []string{"--remote_retries=1000"} // refused uploads are tried again
	for ctx.Err() == nil {
		err := expectRemote(w.Run(ctx, "test", "//..."))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		f.builds.Add(1)
		if _, err := w.Run(ctx, "clean"); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// watchDisk keeps the highest disk use of the store.
func (f *flow) watchDisk(ctx context.Context) error {
	for {
		use, err := harness.DiskUse(filepath.Join(f.node.Dir, "cas"))
		if err != nil {
			return fmt.Errorf("look at the disk use: %w", err)
		}
		f.highest.Store(max(f.highest.Load(), use))
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
}

// fastBytes are random enough that no chunk is alike another.
func fastBytes(random *rand.Rand, n int) []byte {
	data := make([]byte, n)
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(random.Uint32())
	}
	_, _ = rand.NewChaCha8(seed).Read(data)
	return data
}
