package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// Raft logs a duration under the key of the line's own time.
func TestALineMayHaveATimeOfItsOwn(t *testing.T) {
	var out bytes.Buffer
	newLogger(&out, "text", slog.LevelInfo).Info("late", slog.TimeKey, time.Second)
	if !strings.Contains(out.String(), "time=1s") {
		t.Error(out.String())
	}
}
