package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

// inspect opens the stores of a node that has ended, by whatever means, and
// checks their invariants.
func inspect(ctx context.Context, dataDir string) error {
	q, err := queue.Open(ctx, queue.Options{Path: filepath.Join(dataDir, "queue.sqlite"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return errors.Join(q.Check(ctx), q.Close())
}
