package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// logFile is the Raft log with the term and the vote, in the proposer's directory.
const logFile = "log.db"

// cachedEntries is how many entries of the log stay in memory: those that
// followers are about to get.
const cachedEntries = 256

// openLog opens the durable log of a directory. A second process is refused.
func openLog(dir string) (*raftboltdb.BoltStore, error) {
	path := filepath.Join(dir, logFile)
	s, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		// Every commit is synced; the list of free pages is not part of it, and is
		// found again when the file is opened.
		BoltOptions: &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
	})
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, fmt.Errorf("open %s: another process has it open", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return s, nil
}

// fileSize returns 0 for a file that cannot be looked at.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// raftLogger hands Raft's messages to l. Raft tells each of its steps, and calls
// a peer that does not answer an error: both are less here.
func raftLogger(l *slog.Logger) hclog.Logger {
	h := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Off, Output: io.Discard})
	h.RegisterSink(logSink{l})
	return h
}

type logSink struct{ l *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s logSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.Warn:
		to = slog.LevelInfo
	case hclog.Error:
		to = slog.LevelWarn
	}
	if !s.l.Enabled(context.Background(), to) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	s.l.Log(context.Background(), to, "raft: "+msg, args...)
}

// transport is the caller's, without its Close, which Raft would call whenever it
// stops, and with installs that end when Raft does: sending a large state takes
// long.
type transport struct {
	raft.Transport
	stop <-chan struct{}
}

type preVoteTransport struct {
	transport
	raft.WithPreVote
}

func wrapTransport(t raft.Transport, stop <-chan struct{}) raft.Transport {
	if v, ok := t.(raft.WithPreVote); ok {
		return preVoteTransport{transport{t, stop}, v}
	}
	return transport{t, stop}
}

// InstallSnapshot implements raft.Transport.
func (t transport) InstallSnapshot(id raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest,
	resp *raft.InstallSnapshotResponse, data io.Reader) error {
	done, got := make(chan error, 1), &raft.InstallSnapshotResponse{}
	go func() { done <- t.Transport.InstallSnapshot(id, to, args, got, data) }()
	select {
	case err := <-done:
		*resp = *got
		return err
	case <-t.stop:
		return raft.ErrRaftShutdown
	}
}
