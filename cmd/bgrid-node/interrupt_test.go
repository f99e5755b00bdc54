package main

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
)

// As timeout(1) does it; the execution would be left behind otherwise.
func TestASignalAndItsEchoAreOne(t *testing.T) {
	ctx, stop := untilInterrupted(t.Context())
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil { // ends the process, were it not an echo
		t.Fatal(err)
	}
	if i := (*interrupt)(nil); !errors.As(context.Cause(ctx), &i) || i.signal != syscall.SIGTERM {
		t.Errorf("the context ended with %v", context.Cause(ctx))
	}
}
