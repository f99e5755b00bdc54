package raftfsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// TestALogOfLargeEntriesIsBoundedInBytes although few entries are in it.
func TestALogOfLargeEntriesIsBoundedInBytes(t *testing.T) {
	const bound, size = 2 << 20, 50 << 10
	inCluster(t, 1, func(o *RaftOptions) { o.MaxLogBytes = bound }, func(t *testing.T, ms []*member) {
		for i := range 100 {
			ms[0].do(ActionCachePut(&commandpb.ActionCachePut{
				Instance: "main", Action: queue.DigestProto(digest.Of(digest.SHA256, fmt.Append(nil, i))),
				Result: &commandpb.ActionCachePut_ActionResult{ActionResult: bytes.Repeat([]byte{1}, size)},
			}))
			time.Sleep(200 * time.Millisecond)
		}
		first, err := ms[0].raft.store.FirstIndex()
		last := ms[0].raft.Status().LastLog
		if err != nil || (last-first)*size > bound+3*5*size || last-first < 5 {
			t.Errorf("entries %d to %d are kept, of %d bytes each: the bound is %d; %v", first, last, size, bound, err)
		}
	})
}

// fullDisk is a StableStore that cannot be written to for a while.
type fullDisk struct {
	*raft.InmemStore
	failures int
}

var errFull = errors.New("no space left")

func (f *fullDisk) SetUint64(k []byte, v uint64) error {
	if f.failures--; f.failures >= 0 {
		return errFull
	}
	return f.InmemStore.SetUint64(k, v)
}

func TestADiskThatIsFullDoesNotKillRaft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		disk := &fullDisk{InmemStore: raft.NewInmemStore(), failures: 10}
		s := patientStable{disk, ctx, quiet()}
		if err := s.SetUint64([]byte(keyTerm), 7); err != nil {
			t.Errorf("while the disk is full for a while: %v", err)
		}
		if term, err := s.GetUint64([]byte(keyTerm)); term != 7 || err != nil {
			t.Errorf("term %d, %v", term, err)
		}
		disk.failures = 1 << 30
		go func() {
			time.Sleep(time.Minute)
			cancel()
		}()
		if err := s.SetUint64([]byte(keyTerm), 8); err != nil { // for which Raft would panic
			t.Errorf("the term, when closed: %v", err)
		}
		if err := s.SetUint64([]byte("LastVoteTerm"), 8); !errors.Is(err, errFull) {
			t.Errorf("a vote that is on no disk, when closed: %v", err)
		}
	})
}

func TestALogGoesOnFromAMarker(t *testing.T) {
	for name, c := range map[string]struct {
		marker, term, first, last uint64
		ok                        bool
	}{
		"its own":                  {5, 1, 3, 6, true},
		"just below the log":       {2, 1, 2, 6, true},
		"above the log":            {8, 2, 8, 8, true},
		"among what was discarded": {5, 2, 5, 6, true},
		"at its end, of the other": {6, 2, 6, 6, true},
		"with a hole above it":     {1, 1, 3, 6, false},
	} {
		s, err := openLog(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for i := uint64(3); i <= 6; i++ {
			if err := s.StoreLog(&raft.Log{Index: i, Term: 1, Type: raft.LogCommand}); err != nil {
				t.Fatal(err)
			}
		}
		m := &marker{}
		m.Index, m.Term = c.marker, c.term
		err = continueLog(s, m)
		first, _ := s.FirstIndex()
		last, _ := s.LastIndex()
		if (err == nil) != c.ok || first != c.first || last != c.last {
			t.Errorf("%s: entries %d to %d are left, want %d to %d; %v", name, first, last, c.first, c.last, err)
		}
		var at raft.Log
		if c.ok && (s.GetLog(c.marker, &at) != nil || at.Term != c.term) {
			t.Errorf("%s: the entry at the marker has term %d, want %d", name, at.Term, c.term)
		}
	}
	empty, m := raft.NewInmemStore(), &marker{}
	m.Index, m.Term = 7, 3
	if err := errors.Join(continueLog(empty, m), empty.GetLog(7, new(raft.Log))); err != nil {
		t.Errorf("an empty log: %v", err)
	}
}
