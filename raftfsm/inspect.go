package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// Inspection is what Inspect found in the directory of a Raft. Indexes are Raft's.
type Inspection struct {
	First, Last uint64 // entries of the log; 0: there are none
	Term        uint64 // current
	Marker      uint64 // of the last marker; 0: there is none
	// Incoming says that the state of another member has come in and is to be taken
	// over at the next start: the stores may hold anything.
	Incoming bool
	// Broken has what is wrong.
	Broken []error
}

// Inspect reads the directory of a member that does not run, for fsck. It changes
// nothing. queueIndex and cacheIndex are the AppliedIndex of its stores. An error
// means that it could not look; fs.ErrNotExist: there is no log.
func Inspect(ctx context.Context, dir string, queueIndex, cacheIndex uint64) (*Inspection, error) {
	if _, err := os.Stat(filepath.Join(dir, logFile)); err != nil {
		return nil, fmt.Errorf("inspect raft: %w", err)
	}
	i := &inspecting{ctx: ctx, dir: dir}
	i.markers()
	if err := i.log(); err != nil {
		return nil, fmt.Errorf("inspect raft: %w", err)
	}
	if last := lastIndex(max(i.Last, i.Marker)); !i.Incoming && max(queueIndex, cacheIndex) > last {
		i.broken("the stores have applied command %d, the log ends at %d", max(queueIndex, cacheIndex), last)
	}
	return &i.Inspection, nil
}

type inspecting struct {
	Inspection
	ctx context.Context //nolint:containedctx // of the one call that it is
	dir string
}

func (i *inspecting) broken(format string, args ...any) {
	if len(i.Broken) < 10 {
		i.Broken = append(i.Broken, fmt.Errorf(format, args...))
	}
}

func (i *inspecting) markers() {
	last, err := readMarker(filepath.Join(i.dir, markerFile))
	if err != nil {
		i.broken("%w", err)
	} else if last != nil {
		i.Marker = last.Index
	}
	incoming, err := readMarker(filepath.Join(i.dir, incomingFile))
	if err != nil {
		i.broken("%w", err)
	}
	if incoming == nil {
		return
	}
	i.Incoming, i.Marker = true, max(i.Marker, incoming.Index)
	f, err := os.Open(filepath.Join(i.dir, stateFile))
	if err == nil {
		err = errors.Join(verifyState(f), f.Close())
	}
	if err != nil {
		i.broken("the state that came in: %w", err)
	}
}

// log reads every entry.
func (i *inspecting) log() (err error) {
	s, err := raftboltdb.New(raftboltdb.Options{
		Path: filepath.Join(i.dir, logFile), BoltOptions: &bbolt.Options{ReadOnly: true, Timeout: time.Second},
	})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, bbolt.ErrTimeout) {
		return err
	}
	if err != nil {
		i.broken("open %s: %w", logFile, err)
		return nil
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if i.Term, err = s.GetUint64([]byte(keyTerm)); err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		i.broken("read the current term: %w", err)
	}
	if i.First, err = s.FirstIndex(); err == nil {
		i.Last, err = s.LastIndex()
	}
	if err != nil {
		i.broken("read the log: %w", err)
		return nil
	}
	if i.First > i.Marker+1 {
		i.broken("the log begins at entry %d, the last marker is at %d: what was between is lost", i.First, i.Marker)
	}
	return i.entries(s)
}

func (i *inspecting) entries(s *raftboltdb.BoltStore) error {
	term := uint64(0)
	for index := i.First; index != 0 && index <= i.Last; index++ {
		if err := i.ctx.Err(); err != nil {
			return context.Cause(i.ctx)
		}
		var l raft.Log
		if err := s.GetLog(index, &l); err != nil {
			i.broken("entry %d: %w", index, err)
			continue
		}
		if l.Index != index || l.Term < term || l.Term > i.Term {
			i.broken("entry %d says that it is %d of term %d, after term %d; the current one is %d", index, l.Index, l.Term, term, i.Term)
		}
		term = max(term, l.Term)
		if l.Type != raft.LogCommand {
			continue
		}
		if _, err := DecodeGroup(l.Data); err != nil {
			i.broken("entry %d: %w", index, err)
		}
	}
	return nil
}
