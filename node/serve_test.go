package node

import (
	"log/slog"
	"os"
	"syscall"
	"testing"
)

// As timeout(1) does it; running actions would be killed otherwise.
func TestASignalAndItsEchoAreOne(t *testing.T) {
	ctx, stop := untilSignal(t.Context(), slog.New(slog.DiscardHandler))
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil { // ends the process, were it not an echo
		t.Fatal(err)
	}
}
