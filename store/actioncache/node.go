package actioncache

import (
	"sync/atomic"
	"unsafe"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// kind says as what a blob is read.
type kind uint8

const (
	kindDirectory kind = iota
	kindTree
)

func (k kind) String() string { return [...]string{"Directory", "Tree"}[k] }

type nodeKey struct {
	digest digest.Digest
	kind   kind
}

// node is what a valid Directory or Tree names. It follows from the digest
// alone, so it never grows stale; only what it names may have left the store.
type node struct {
	files []digest.Digest
	dirs  []child // of a Directory; those of a Tree are in it
}

// child is a directory in a Directory.
type child struct {
	name   string
	digest digest.Digest
}

func (n *node) bytes() int {
	b := 200 + len(n.files)*int(unsafe.Sizeof(digest.Digest{}))
	for _, c := range n.dirs {
		b += int(unsafe.Sizeof(c)) + len(c.name)
	}
	return b
}

// mark remembers the era in which a Directory or Tree, and everything beneath
// it, was last found present.
type mark struct{ era atomic.Uint64 }

func (*mark) bytes() int { return 160 }

// wholeIn tells whether everything of k was found present in the era given.
func (s *Store) wholeIn(k nodeKey, era uint64) bool {
	m, _, ok := s.marks.get(k)
	return ok && m.era.Load() == era
}

func (s *Store) markWhole(k nodeKey, era uint64) {
	m, version, ok := s.marks.get(k)
	if !ok {
		m, _ = s.marks.put(k, new(mark), version)
	}
	m.era.Store(era)
}
