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

// IsMonotonic implements raft.MonotonicLogStore: the log has no gaps. Raft removes
// all of it when it takes over the state of another member.
func (l *sizedLog) IsMonotonic() bool { return true }

// dropBelow removes the log if all of it is below a marker: a crash came between
// the two steps of taking over a state.
func dropBelow(l raft.LogStore, marker uint64) error {
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.LastIndex()
	if err != nil || last == 0 || last >= marker {
		return err
	}
	return l.DeleteRange(first, last)
}

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

// adaptLog lets half of the bound be kept for followers that are a little behind,
// and as much be added until the log is cut off.
func (r *Raft) adaptLog() {
	most := max(r.sizes.entriesIn(r.o.MaxLogBytes/2), 1)
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
