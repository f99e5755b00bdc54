package node

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// Keys of log attributes.
const (
	keyError    = "error"
	keyAddress  = "address"
	keyDuration = "took"
	keyDir      = "dir"
)

// newLogger logs to w as text or JSON; auto is text on a terminal.
func newLogger(w io.Writer, format string, level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "text" || (format == "auto" && isTerminal(w)) {
		o.ReplaceAttr = shortTime
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// shortTime leaves the date to the terminal's reader. Others may call something
// "time" that is none.
func shortTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		return slog.String(slog.TimeKey, a.Value.Time().Format("15:04:05.000"))
	}
	return a
}
