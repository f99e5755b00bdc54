package cas

import (
	"log/slog"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/bgrid-node/bgrid-node/store/engine"
)

// badgerOptions are those of DESIGN.md, for one generation.
func badgerOptions(dir string, g geometry, logger *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(engine.Logger(logger)).
		WithMetricsEnabled(false).
		WithBypassLockGuard(true). // the store has a lock of its own
		WithDetectConflicts(false).
		WithNumCompactors(2).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithMemTableSize(g.memTable).
		WithNumMemtables(2).
		WithBaseTableSize(g.memTable).
		WithValueThreshold(inlineBytes).
		WithValueLogFileSize(valueLog).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithCompactL0OnClose(false).
		WithNumGoroutines(1)
}
