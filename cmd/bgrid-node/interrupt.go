package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bgrid-node/bgrid-node/node"
)

// interrupt is why a context ended: a signal came.
type interrupt struct{ signal syscall.Signal }

func (i *interrupt) Error() string { return "cancelled by signal: " + i.signal.String() }

// untilInterrupted returns a context that ends with the first SIGINT or SIGTERM;
// a second one, later than node.SignalEcho, ends the process.
func untilInterrupted(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			if s, ok := s.(syscall.Signal); ok {
				cancel(&interrupt{s})
			}
			time.Sleep(node.SignalEcho)
			signal.Stop(signals)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}
