package node

import (
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSystemdIsTold(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@bgrid-test-" + filepath.Base(t.TempDir())} {
		socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(notifyVariable, name)
		tellSystemd(slog.New(slog.DiscardHandler), systemdReady)
		tellSystemd(slog.New(slog.DiscardHandler), systemdStopping(90*time.Second))
		var have []string
		for range 2 {
			buf := make([]byte, 256)
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			have = append(have, string(buf[:n]))
		}
		_ = socket.Close()
		if d := cmp.Diff([]string{"READY=1", "STOPPING=1\nEXTEND_TIMEOUT_USEC=90000000"}, have); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestWithoutSystemdNobodyIsTold(t *testing.T) {
	t.Setenv(notifyVariable, "")
	tellSystemd(slog.New(slog.DiscardHandler), systemdReady)
	t.Setenv(notifyVariable, filepath.Join(t.TempDir(), "gone"))
	tellSystemd(slog.New(slog.DiscardHandler), systemdReady)
}
