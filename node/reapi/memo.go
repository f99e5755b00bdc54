package reapi

import (
	"sync"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// memo remembers parsed actions, bounded in bytes. It keeps two generations:
// what is used moves to the young one, and when that is half of the bound the
// old one is forgotten. That is nearly as good as least recently used, and a
// lookup is one map access.
type memo struct {
	mu         sync.Mutex
	young, old map[digest.Digest]*parsedAction
	bytes      int // of young
	half       int
}

func newMemo(bytes int) *memo {
	return &memo{young: make(map[digest.Digest]*parsedAction), half: bytes / 2}
}

func (m *memo) get(d digest.Digest) *parsedAction {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.young[d]; p != nil {
		return p
	}
	p := m.old[d]
	if p != nil {
		m.add(p)
	}
	return p
}

func (m *memo) put(p *parsedAction) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(p)
}

func (m *memo) add(p *parsedAction) {
	if m.young[p.digest] == nil {
		m.bytes += p.bytes()
	}
	m.young[p.digest] = p
	if m.bytes > m.half {
		m.old, m.young, m.bytes = m.young, make(map[digest.Digest]*parsedAction), 0
	}
}
