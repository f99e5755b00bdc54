package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/bgrid-node/bgrid-node/node/worker"
	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/cgroup"
)

// ServeWorker runs a remote worker until ctx ends or the process gets SIGTERM or
// SIGINT; then it finishes what runs and leaves. A second signal ends the process
// at once. cfg is of a worker, see Sources.Worker. Logs go to stderr.
func ServeWorker(ctx context.Context, cfg Config, build Build, stderr io.Writer) error {
	start := time.Now()
	logger := newLogger(stderr, cfg.LogFormat, cfg.LogLevel)
	ctx, stop := untilSignal(ctx, logger)
	defer stop()
	all := &closers{logger: logger}
	w, err := openWorker(&cfg, build, logger, all)
	if err != nil {
		return errors.Join(err, all.close())
	}
	tellSystemd(logger, systemdReady)
	context.AfterFunc(ctx, func() { tellSystemd(logger, systemdStopping(cfg.DrainTimeout+2*stopGrace)) })
	err = errors.Join(w.Run(ctx), all.close())
	logger.Info("stopped", "after", time.Since(start))
	return err
}

// openWorker opens everything that a remote worker needs.
func openWorker(cfg *Config, build Build, logger *slog.Logger, all *closers) (*worker.Worker, error) {
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	all.add("data directory", dir.close)
	if err := os.MkdirAll(cfg.WorkDir, dirMode); err != nil {
		return nil, fmt.Errorf("create --work-dir: %w", plain(err))
	}
	disk, _, err := diskSize(cfg.WorkDir)
	if err != nil {
		return nil, err
	}
	open, err := openRunners(cfg, logger, all)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	room := cgroup.Room()
	o := worker.Options{
		Servers: cfg.Servers, Instance: cfg.Instance,
		BotID:   host + "-" + dir.nodeID[:min(8, len(dir.nodeID))], // two on one machine differ
		Runners: open, Slots: cfg.Slots, CPUs: room.CPUs, Memory: room.Memory, Dir: cfg.WorkDir, CacheBytes: cfg.WorkCacheSize.Of(disk), TreeBytes: cfg.TreeCacheSize.Of(disk), Limits: cfg.Limits,
		DrainTimeout: cfg.DrainTimeout, Version: build.Version, Logger: logger,
	}
	for _, p := range cfg.offered(open) {
		o.Properties = append(o.Properties, runners.Property(p))
	}
	w, err := worker.New(o)
	if err != nil {
		return nil, fmt.Errorf("--work-dir %s: %w", filepath.Clean(cfg.WorkDir), plain(err))
	}
	logger.Info("worker", "bot", o.BotID, "servers", cfg.Servers, "instance", cfg.Instance, "slots", cfg.Slots, "properties", o.Properties, keyDir, cfg.DataDir, "seccomp", thisSeccomp())
	return w, nil
}
