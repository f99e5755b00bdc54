package actioncache

import (
	"log/slog"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/bgrid-node/bgrid-node/store/engine"
)

const (
	// memTable holds a few groups of the command log. Badger takes 15 % of it in
	// one transaction.
	memTable = 8 << 20
	// valueLog is never written to: all values lie in the LSM tree, where Badger
	// reclaims the space of replaced ones by itself.
	valueLog = 1 << 20
)

// badgerOptions keep values in the LSM tree and memory small.
func badgerOptions(dir string, logger *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(engine.Logger(logger)).
		WithMetricsEnabled(false).
		WithBypassLockGuard(true). // the store has a lock of its own
		WithDetectConflicts(false).
		WithNumCompactors(2).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithMemTableSize(memTable).
		WithNumMemtables(2).
		WithBaseTableSize(memTable).
		WithValueThreshold(memTable / 8).
		WithValueLogFileSize(valueLog).
		WithVerifyValueChecksum(true).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithCompactL0OnClose(false).
		WithNumGoroutines(1)
}
