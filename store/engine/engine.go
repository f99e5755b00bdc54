// Package engine holds what the stores that are built on Badger share.
package engine

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// Logger returns a Badger logger that hands its messages to l, its chatter as
// debug messages. What Badger calls an error it also returns, so here it is a
// warning.
func Logger(l *slog.Logger) badger.Logger { return logger{l} }

type logger struct{ l *slog.Logger }

func (b logger) log(level slog.Level, format string, args []any) {
	if b.l.Enabled(context.Background(), level) {
		b.l.Log(context.Background(), level, "badger: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}

func (b logger) Errorf(f string, a ...any)   { b.log(slog.LevelWarn, f, a) }
func (b logger) Warningf(f string, a ...any) { b.log(slog.LevelWarn, f, a) }
func (b logger) Infof(f string, a ...any)    { b.log(slog.LevelDebug, f, a) }
func (b logger) Debugf(f string, a ...any)   { b.log(slog.LevelDebug, f, a) }

// RemoveEmptyLogs deletes logs of no bytes from the directory of a Badger that is
// not open. Badger makes and deletes its logs in two steps, and refuses to open
// when it was killed between them. Nothing is in them.
func RemoveEmptyLogs(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range names {
		if ext := filepath.Ext(e.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Size() > 0 {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
