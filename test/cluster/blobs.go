package cluster

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

const (
	blobPace  = 300 * time.Millisecond
	readers   = 4
	largeSize = 5 << 20
)

// blobLedger is which blobs were acknowledged.
type blobLedger struct {
	mu  sync.Mutex
	all []digest.Digest
	how map[digest.Digest]string // the first time
}

func (l *blobLedger) add(how string, sources []client.Source) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.how == nil {
		l.how = map[digest.Digest]string{}
	}
	for _, s := range sources {
		if l.how[s.Digest] == "" {
			l.how[s.Digest] = how
			l.all = append(l.all, s.Digest)
		}
	}
}

// tell names blobs that are missing, and how the first was acknowledged.
func (l *blobLedger) tell(missing []digest.Digest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Errorf("%d acknowledged blobs are missing, among them %s, %s", len(missing), missing[0], l.how[missing[0]])
}

func (l *blobLedger) list() []digest.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]digest.Digest(nil), l.all...)
}

// useBlobs uploads blobs of several sizes until ctx ends, and reads some of what
// anybody has uploaded.
func (c *caller) useBlobs(ctx context.Context) {
	for c.pause(ctx, blobPace) {
		var sources []client.Source
		for range 1 + c.random.IntN(8) {
			sources = append(sources, client.Blob(digest.SHA256, randomBytes(c.random, 1+c.random.IntN(32<<10))))
		}
		if c.random.IntN(60) == 0 {
			sources = append(sources, client.Blob(digest.SHA256, randomBytes(c.random, largeSize+c.random.IntN(1<<20))))
		}
		if c.store(ctx, sources) != nil {
			continue
		}
		all := c.ledger.list()
		d := all[c.random.IntN(len(all))]
		_ = c.try(ctx, "fetch an acknowledged blob", func(ctx context.Context, e *endpoint) error { return e.blobs.Fetch(ctx, d, io.Discard) })
	}
}

// store uploads, through one node after the other until one takes it, and notes
// what was acknowledged.
func (c *caller) store(ctx context.Context, sources []client.Source) error {
	return c.try(ctx, "upload", func(ctx context.Context, e *endpoint) error {
		began := time.Now()
		stats, err := e.blobs.Upload(ctx, sources, nil)
		if err == nil {
			c.ledger.add(fmt.Sprintf("one of %d of which %d were sent to %s from %s to %s", stats.Blobs, stats.SentBlobs, e.address,
				began.Format("15:04:05.000"), time.Now().Format("15:04:05.000")), sources)
		}
		return err
	})
}

// findAll asks a node for every acknowledged blob: none may be missing. It also
// brings each blob back to as many copies as it should have.
func (l *Load) findAll(ctx context.Context, e *endpoint) error {
	missing, err := e.blobs.FindMissing(ctx, l.ledger.list())
	if err == nil && len(missing) > 0 {
		err = l.ledger.tell(missing)
	}
	return err
}

// readAll reads every acknowledged blob through every node.
func (c *caller) readAll(ctx context.Context) error {
	for _, e := range c.endpoints {
		if err := c.insist(ctx, "look for all blobs", e, c.findAll); err != nil {
			return err
		}
		reading, ctx := errgroup.WithContext(ctx)
		reading.SetLimit(readers)
		for _, d := range c.ledger.list() {
			reading.Go(func() error {
				return c.insist(ctx, "read an acknowledged blob", e, func(ctx context.Context, e *endpoint) error { return e.blobs.Fetch(ctx, d, io.Discard) })
			})
		}
		if err := reading.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func randomBytes(random *rand.Rand, n int) []byte {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(random.Uint32())
	}
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(data)
	return data
}
