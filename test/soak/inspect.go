package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// inspectBytes is a cap above that of every loop: nothing is evicted by a look.
const inspectBytes = 16 << 30

// inspect opens the stores of a node that has ended, by whatever means, and
// checks their invariants.
func inspect(ctx context.Context, dataDir string) (err error) {
	logger := slog.New(slog.DiscardHandler)
	blobs, err := cas.Open(ctx, cas.Options{
		Dir: filepath.Join(dataDir, "cas"), MaxBytes: inspectBytes, ScrubInterval: -1, Logger: logger,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	results, err := actioncache.Open(ctx, actioncache.Options{Dir: filepath.Join(dataDir, "actioncache"), Blobs: blobs, Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	q, err := queue.Open(ctx, queue.Options{Path: filepath.Join(dataDir, "queue.sqlite"), Logger: logger})
	if err != nil {
		return err
	}
	return errors.Join(results.Check(ctx), q.Check(ctx), q.Close())
}
