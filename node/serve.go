package node

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Build names what runs.
type Build struct{ Version, Revision string }

// Serve runs a node until ctx ends or the process gets SIGTERM or SIGINT, then
// drains and stops it. A second signal ends the process at once, as the kernel
// does by default. SIGHUP changes nothing: nothing is reloaded yet. Logs go to
// stderr; the lines that connect clients go to stdout, unless logs are to be JSON.
func Serve(ctx context.Context, cfg Config, build Build, stdout, stderr io.Writer) error {
	start := time.Now()
	logger := newLogger(stderr, cfg.LogFormat, cfg.LogLevel)
	ctx, stop := untilSignal(ctx, logger)
	defer stop()
	n, err := New(ctx, cfg, Options{Build: build, Logger: logger, Started: start})
	if err != nil {
		return err
	}
	tellSystemd(logger, systemdReady) // it listens from here on
	context.AfterFunc(ctx, func() { tellSystemd(logger, systemdStopping(cfg.DrainTimeout+2*stopGrace)) })
	if cfg.LogFormat != "json" {
		_, _ = io.WriteString(stdout, n.Welcome())
	}
	return n.Run(ctx)
}

// SignalEcho is how long after SIGTERM or SIGINT another one is the same: timeout(1)
// sends its signal to the process and then to the process group, and a terminal and
// a wrapping script may both pass on an interrupt.
const SignalEcho = 500 * time.Millisecond

// untilSignal returns a context that ends with the first SIGTERM or SIGINT; after
// SignalEcho those signals have their default effect again.
func untilSignal(ctx context.Context, logger *slog.Logger) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-hangup:
				logger.Info("SIGHUP: nothing to reload")
			case s := <-end:
				logger.Info("draining; the same signal again quits at once", "signal", s.String())
				cancel()
				time.Sleep(SignalEcho)
				signal.Stop(end)
			case <-ctx.Done():
				signal.Stop(end)
				return
			}
		}
	}()
	return ctx, cancel
}
