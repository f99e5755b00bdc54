package cas

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// badgerOptions are those of DESIGN.md, for one generation.
func badgerOptions(dir string, g geometry, logger *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(badgerLogger{logger}).
		WithMetricsEnabled(false).
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
