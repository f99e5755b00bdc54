package cluster

import (
	"slices"
	"sync"
)

// maxAddresses bounds what is remembered for one node.
const maxAddresses = 4

// book knows where nodes are: by what they said of themselves, newest first. It
// forgets with the process; the log's configuration does not.
type book struct {
	mu    sync.Mutex
	known map[string][]string
}

func newBook() *book { return &book{known: map[string][]string{}} }

// note puts an address of a node before the others.
func (b *book) note(id, addr string) {
	if id == "" || addr == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.known[id]
	if len(old) > 0 && old[0] == addr {
		return
	}
	next := append([]string{addr}, slices.DeleteFunc(slices.Clone(old), func(a string) bool { return a == addr })...)
	b.known[id] = next[:min(len(next), maxAddresses)]
}

// know adds an address behind those that the node told itself.
func (b *book) know(id, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if addr != "" && len(b.known[id]) < maxAddresses && !slices.Contains(b.known[id], addr) {
		b.known[id] = append(slices.Clone(b.known[id]), addr)
	}
}

// addresses returns where a node may be, best first.
func (b *book) addresses(id string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.known[id])
}

// address returns where a node is most likely; "" when nobody knows.
func (b *book) address(id string) string {
	if all := b.addresses(id); len(all) > 0 {
		return all[0]
	}
	return ""
}
