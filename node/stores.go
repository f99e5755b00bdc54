package node

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Names of the stores in a data directory.
const (
	casDir     = "cas"
	resultsDir = "actioncache"
	queueFile  = "queue.sqlite"
)

// stores is the state on this disk.
type stores struct {
	cas     *cas.Store
	results *actioncache.Store
	queue   *queue.Store
}

// openStores opens the three stores; the action cache looks its blobs up in the
// content-addressable storage, and is closed before it.
func (n *Node) openStores(ctx context.Context) (err error) {
	disk, _, err := diskSize(n.config.DataDir)
	if err != nil {
		return err
	}
	n.stores.cas, err = cas.Open(ctx, cas.Options{
		Dir:              filepath.Join(n.config.DataDir, casDir),
		MaxBytes:         max(n.config.CASMaxSize.Of(disk), MinCASSize),
		ProtectionWindow: n.config.ProtectionWindow,
		Logger:           n.logger,
	})
	if err != nil {
		return fmt.Errorf("--data-dir %s: %w", n.config.DataDir, plain(err))
	}
	n.closers.add("content-addressable storage", n.stores.cas.Close)
	if err := n.openBlobs(); err != nil {
		return err
	}

	n.stores.results, err = actioncache.Open(ctx, actioncache.Options{
		Dir:        filepath.Join(n.config.DataDir, resultsDir),
		Blobs:      n.storage,
		MaxEntries: n.config.MaxCacheEntries,
		OnDangling: n.noteDangling,
		Logger:     n.logger,
	})
	if err != nil {
		return fmt.Errorf("--data-dir %s: %w", n.config.DataDir, plain(err))
	}
	n.closers.add("action cache", n.stores.results.Close)

	n.stores.queue, err = queue.Open(ctx, queue.Options{
		Path: filepath.Join(n.config.DataDir, queueFile), LazySync: n.config.Clustered(), Logger: n.logger,
	})
	if err != nil {
		return fmt.Errorf("--data-dir %s: %w", n.config.DataDir, plain(err))
	}
	n.closers.add("queue", n.stores.queue.Close)
	return nil
}
