package raftfsm

import (
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// sizedLog is a log that knows about how large its entries are.
type sizedLog struct {
	raft.LogStore
	mean atomic.Int64 // of the data of the last entries, in bytes, times 256
	keep atomic.Uint64
}

// DeleteRange implements raft.LogStore. The entry that continueLog put at a marker
// stays when Raft cuts the log off there.
func (l *sizedLog) DeleteRange(first, last uint64) error {
	if keep := l.keep.Load(); last == keep && first <= keep {
		if last--; last < first {
			return nil
		}
	}
	return l.LogStore.DeleteRange(first, last)
}

// StoreLogs implements raft.LogStore. One goroutine calls it.
func (l *sizedLog) StoreLogs(logs []*raft.Log) error {
	mean := l.mean.Load()
	for _, e := range logs {
		mean += (int64(len(e.Data))*256 - mean) / 64
	}
	l.mean.Store(mean)
	return l.LogStore.StoreLogs(logs)
}

// StoreLog implements raft.LogStore.
func (l *sizedLog) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

// entriesIn is how many entries like the last ones fit into a number of bytes.
func (l *sizedLog) entriesIn(bytes int64) uint64 {
	const overhead = 64 // of an entry in the log's file
	return uint64(bytes / (l.mean.Load()/256 + overhead))
}

// boundLog bounds the log in bytes, while Raft counts entries, whose sizes differ
// by a factor of a thousand.
func (r *Raft) boundLog() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.adaptLog()
		case <-r.stop.Done():
			return
		}
	}
}

// minTrailing entries are kept, however large they are.
const minTrailing = 16

// adaptLog lets half of the bound be kept for followers that are a little behind,
// and as much be added until the log is cut off.
func (r *Raft) adaptLog() {
	most := max(r.sizes.entriesIn(r.o.MaxLogBytes/2), minTrailing)
	node := r.raft()
	c := node.ReloadableConfig()
	every, trailing := min(r.o.SnapshotEvery, most), min(r.o.TrailingLogs, most)
	if c.SnapshotThreshold == every && c.TrailingLogs == trailing {
		return
	}
	c.SnapshotThreshold, c.TrailingLogs = every, trailing
	if err := node.ReloadConfig(c); err != nil {
		r.log.Warn("cannot adapt when the log is cut off", "error", err)
	}
}
