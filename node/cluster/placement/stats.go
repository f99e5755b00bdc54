package placement

import (
	"sync"
	"sync/atomic"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// counters count since New.
type counters struct {
	asked      atomic.Int64
	copied     atomic.Int64
	healed     atomic.Int64
	failedOver atomic.Int64
	misplaced  misplaced
}

// Stats is what placement does. What counts events counts since New.
type Stats struct {
	Members   int // voters of the cluster; 0: this node is alone
	Reachable int // of them, this node among them
	Copies    int // that each blob should have

	Asked      int64  // questions to other members what they lack
	Copied     int64  // copies made of blobs that had too few
	Healed     int64  // blobs that this node lacked and got from another member
	FailedOver int64  // reads that went on from another member
	Misplaced  int    // blobs noted as being on other members than their owners
	Lost       uint64 // members that went away with their copies
}

// Stats returns the figures. It is cheap.
func (b *Blobs) Stats() Stats {
	v, c := b.view.Load(), &b.counters
	return Stats{
		Members: len(v.members), Reachable: v.up.count(), Copies: v.copies,
		Asked: c.asked.Load(), Copied: c.copied.Load(), Healed: c.healed.Load(), FailedOver: c.failedOver.Load(),
		Misplaced: c.misplaced.count(), Lost: b.losses.Load(),
	}
}

// misplacedMost bounds the notes of misplaced blobs: some 3 MB.
const misplacedMost = 1 << 15

// misplaced notes blobs that have enough copies, but not on all of their owners:
// what is to be moved when there is time.
type misplaced struct {
	mu    sync.Mutex
	blobs map[digest.Digest]struct{}
}

// noteMisplaced looks at a blob that is on enough members.
func (b *Blobs) noteMisplaced(s *survey, i int) {
	m := &b.counters.misplaced
	right := s.v.owners(&s.ds[i]).without(s.has[i]) == 0
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case right:
		delete(m.blobs, s.ds[i])
	case len(m.blobs) < misplacedMost:
		if m.blobs == nil {
			m.blobs = make(map[digest.Digest]struct{})
		}
		m.blobs[s.ds[i]] = struct{}{}
	}
}

func (m *misplaced) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.blobs)
}
