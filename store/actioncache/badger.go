package actioncache

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
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
		WithLogger(badgerLogger{logger}).
		WithMetricsEnabled(false).
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

// badgerLogger hands Badger's messages to slog, its chatter as debug messages.
type badgerLogger struct{ l *slog.Logger }

func (b badgerLogger) log(level slog.Level, format string, args []any) {
	if b.l.Enabled(context.Background(), level) {
		b.l.Log(context.Background(), level, "badger: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}

func (b badgerLogger) Errorf(f string, a ...any)   { b.log(slog.LevelWarn, f, a) }
func (b badgerLogger) Warningf(f string, a ...any) { b.log(slog.LevelWarn, f, a) }
func (b badgerLogger) Infof(f string, a ...any)    { b.log(slog.LevelDebug, f, a) }
func (b badgerLogger) Debugf(f string, a ...any)   { b.log(slog.LevelDebug, f, a) }
