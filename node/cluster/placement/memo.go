package placement

import (
	"encoding/binary"
	"sync"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// memo remembers which blobs are on enough members, for one era: each copy was
// found, and so protected, in it. It is bounded: each stripe keeps two
// generations, and forgets the older one when the other is full.
type memo struct{ stripes [memoStripes]stripe }

const (
	memoStripes = 16
	memoEntries = 1 << 18 / memoStripes // of one generation of one stripe; 32 bytes each, about
)

type stripe struct {
	mu         sync.Mutex
	era        uint64
	young, old map[memoKey]struct{}
}

// memoKey is half of a blob's hash, and its size: what the local store tells
// blobs apart by.
type memoKey struct {
	high, low uint64
	size      int64
}

func keyOf(d *digest.Digest) memoKey {
	return memoKey{binary.LittleEndian.Uint64(d.Hash[:]), binary.LittleEndian.Uint64(d.Hash[8:]) ^ uint64(d.Function)<<56, d.Size}
}

func (m *memo) stripe(k memoKey) *stripe { return &m.stripes[k.low%memoStripes] }

func (m *memo) has(d *digest.Digest, era uint64) bool {
	k := keyOf(d)
	s := m.stripe(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.era != era {
		return false
	}
	_, ok := s.young[k]
	if !ok {
		_, ok = s.old[k]
	}
	return ok
}

// add remembers a blob that was found in an era.
func (m *memo) add(d *digest.Digest, era uint64) {
	k := keyOf(d)
	s := m.stripe(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case era < s.era:
		return
	case era > s.era || s.young == nil:
		s.era, s.old, s.young = era, nil, make(map[memoKey]struct{})
	case len(s.young) >= memoEntries:
		s.old, s.young = s.young, make(map[memoKey]struct{})
	}
	s.young[k] = struct{}{}
}
