// Package worker is a worker on another machine than the server: the same runners
// and caches as those of a local worker, with leases over the Bots service and
// blobs over the Remote Execution API. See DESIGN.md.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bgrid-node/bgrid-node/node/client"
	"github.com/bgrid-node/bgrid-node/runners"
)

// Options is what New needs.
type Options struct {
	// Servers are the addresses of equal servers, host:port each: calls go round those
	// that are ready.
	Servers  []string
	Instance string
	// BotID names the worker. It must be its own, and the same over restarts: the
	// server then knows at once that its leases are gone.
	BotID      string
	Properties []runners.Property // that actions may ask for
	Runners    []runners.Runner
	Slots      int     // actions at a time, at least 1
	CPUs       float64 // that they share, told to the server; 0: not told
	Memory     int64   // bytes, the same
	Dir        string  // see runners.WorkerOptions
	CacheBytes int64   // see runners.WorkerOptions
	TreeBytes  int64
	Limits     runners.Limits
	// DrainTimeout is how long running actions may take once Run is to end.
	DrainTimeout time.Duration
	Version      string       // of this program, told to the server
	Logger       *slog.Logger // nil: slog.Default()
}

// Validate names what is missing or out of range.
func (o *Options) Validate() error {
	switch {
	case len(o.Servers) == 0:
		return errors.New("worker: Servers must have one at least")
	case o.BotID == "":
		return errors.New("worker: BotID must be set")
	case o.Slots < 1 || o.Slots > maxSlots:
		return fmt.Errorf("worker: Slots is %d, want 1 to %d", o.Slots, maxSlots)
	}
	return nil
}

// maxSlots is the largest capacity that the server takes.
const maxSlots = 10000

// Worker is a worker of one server, or of one cluster of them.
type Worker struct {
	o      Options
	client *client.Client
	link   *link
	worker *runners.Worker
}

// New prepares everything and talks to nobody yet. Without a following Run, Close
// must be called.
func New(o Options) (_ *Worker, err error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	w := &Worker{o: o}
	if w.client, err = dialBlobs(&o); err != nil {
		return nil, err
	}
	if w.link, err = newLink(&o); err != nil {
		return nil, errors.Join(err, w.client.Close())
	}
	w.worker, err = runners.NewWorker(runners.WorkerOptions{
		Leases: w.link, Blobs: blobs{w.client}, Runners: o.Runners, Dir: o.Dir,
		CacheBytes: o.CacheBytes, TreeBytes: o.TreeBytes, Limits: o.Limits, CacheEagerly: true, Slots: o.Slots, Name: o.BotID, Logger: o.Logger,
		Streams: w.link.follow, APIs: runners.Forward(dialAny(o.Servers)),
	})
	if err != nil {
		return nil, errors.Join(err, w.client.Close(), w.link.conn.Close())
	}
	return w, nil
}

// Close gives everything free that New made, for when there is no Run.
func (w *Worker) Close() error {
	return errors.Join(w.worker.Close(), w.client.Close(), w.link.conn.Close())
}

// Run takes leases and executes them until ctx ends. Then it takes no more, lets
// those that run come to their end within Options.DrainTimeout, tells the server
// that it leaves, and returns nil. A server that is away is waited for, for ever;
// one that does not know the instance, or does not serve workers, is an error.
func (w *Worker) Run(ctx context.Context) error {
	defer func() { _ = errors.Join(w.client.Close(), w.link.conn.Close()) }()
	if err := w.meet(ctx); err != nil {
		if ctx.Err() != nil {
			err = nil
		}
		return errors.Join(err, w.worker.Close())
	}
	working, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	linked, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	ended := make(chan error, 1)
	go func() { ended <- w.link.run(linked) }()
	go w.watchDisk(linked)
	defer context.AfterFunc(ctx, func() { w.drain(working, kill) })()

	err := w.worker.Run(working)
	if working.Err() != nil {
		err = nil
		w.link.abandon() // what was killed goes back to the queue
		defer time.AfterFunc(farewell, cut).Stop()
	}
	return errors.Join(err, <-ended)
}

// farewell is how long the last call may take.
const farewell = 5 * time.Second

// drain lets what runs come to its end, and kills it when that takes too long.
func (w *Worker) drain(working context.Context, kill func()) {
	w.o.Logger.Info("draining: running actions may finish", "limit", w.o.DrainTimeout)
	w.link.terminate()
	timer := time.NewTimer(w.o.DrainTimeout)
	defer timer.Stop()
	select {
	case <-timer.C:
		w.o.Logger.Warn("running actions did not end in time; others will run them", "limit", w.o.DrainTimeout)
		kill()
	case <-working.Done():
	}
}

// meet waits until a server answers, so that what follows may count on one.
func (w *Worker) meet(ctx context.Context) error {
	pause := newPause()
	for {
		_, err := w.client.Capabilities(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, client.ErrInstance):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		w.o.Logger.Warn("no server answers yet", "servers", w.o.Servers, "error", err)
		pause.wait(ctx)
	}
}
