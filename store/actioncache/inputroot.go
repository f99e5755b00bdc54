package actioncache

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Bounds of an input root, far above what builds have. They bound the work and
// the memory that one request can cause.
const (
	maxDirectoryBytes = 8 << 20   // of one Directory
	maxDirectories    = 1 << 18   // distinct ones
	maxRootBytes      = 256 << 20 // of all of them
	maxDepth          = 1024      // of nesting
	maxMissing        = 4096      // that one answer names
)

// How much is asked of the storage at once.
const (
	batchDirectories = 256
	batchBytes       = 4 << 20
	batchFiles       = 4096
)

// InputRoot returns the blobs that an input root lacks: the root, Directories
// and files, each once, at most maxMissing of them; below a missing Directory
// nothing is known. All the others are protected. A Directory that breaks a rule
// is an error that wraps ErrMalformed and names the path.
//
// Each distinct Directory is looked at once, however many paths lead to it, and
// not at all in a bucket in which everything beneath it was found before.
func (s *Store) InputRoot(ctx context.Context, root digest.Digest) ([]digest.Digest, error) {
	era := s.era.now(s.blobs)
	if s.wholeIn(nodeKey{root, kindDirectory}, era) {
		return nil, nil
	}
	w := walk{s: s, ctx: ctx, era: era, seen: map[digest.Digest]struct{}{}, lacks: map[digest.Digest]struct{}{}}
	if err := w.run(root); err != nil {
		return w.missing, err
	}
	if len(w.missing) == 0 {
		for i := len(w.steps) - 1; i >= 0; i-- { // the root last: it is forgotten last
			s.markWhole(nodeKey{w.steps[i].digest, kindDirectory}, era)
		}
	}
	return w.missing, nil
}

// walk visits each distinct Directory beneath a root once, those near the root
// first.
type walk struct {
	s       *Store
	ctx     context.Context //nolint:containedctx // of the one call that the walk is
	era     uint64
	steps   []step // what was found, in order; those from next on are to be visited
	next    int
	seen    map[digest.Digest]struct{} // what steps holds
	bytes   int64                      // of Directories
	ask     []digest.Digest            // to be looked for
	missing []digest.Digest
	lacks   map[digest.Digest]struct{} // what missing holds
}

// step is a Directory with the way to it.
type step struct {
	digest digest.Digest
	name   string
	parent int32 // position in steps; of the root -1
	depth  int32
}

func (w *walk) run(root digest.Digest) error {
	if err := w.found(child{digest: root}, -1, 0); err != nil {
		return err
	}
	for w.next < len(w.steps) && len(w.missing) < maxMissing {
		if err := w.visit(); err != nil {
			return err
		}
		if len(w.ask) >= batchFiles {
			if err := w.look(); err != nil {
				return err
			}
		}
	}
	return w.look()
}

// found notes a Directory to be visited.
func (w *walk) found(c child, parent, depth int32) error {
	if _, again := w.seen[c.digest]; again {
		return nil
	}
	if parent >= 0 && w.s.wholeIn(nodeKey{c.digest, kindDirectory}, w.era) {
		return nil
	}
	w.seen[c.digest] = struct{}{}
	w.steps = append(w.steps, step{digest: c.digest, name: c.name, parent: parent, depth: depth})
	at := int32(len(w.steps) - 1)
	w.bytes += c.digest.Size
	switch {
	case c.digest.Size > maxDirectoryBytes:
		return w.malformed(at, fmt.Errorf("a Directory of %d bytes: at most %d are taken", c.digest.Size, maxDirectoryBytes))
	case depth > maxDepth:
		return w.malformed(at, fmt.Errorf("nested deeper than %d directories", maxDepth))
	case len(w.steps) > maxDirectories:
		return w.malformed(at, fmt.Errorf("more than %d distinct Directories", maxDirectories))
	case w.bytes > maxRootBytes:
		return w.malformed(at, fmt.Errorf("Directories of more than %d bytes together", maxRootBytes))
	}
	return nil
}

// visit takes the next Directories: what they name is to be looked for.
func (w *walk) visit() error {
	var load []digest.Digest
	var at []int32
	var versions []uint64
	size := int64(0)
	for ; w.next < len(w.steps) && len(load) < batchDirectories && size < batchBytes; w.next++ {
		d := w.steps[w.next].digest
		n, version, ok := w.s.nodes.get(nodeKey{d, kindDirectory})
		if ok {
			w.ask = append(w.ask, d)
			if err := w.names(int32(w.next), n); err != nil {
				return err
			}
			if len(w.ask) >= batchFiles {
				w.next++
				break
			}
			continue
		}
		load, at, versions = append(load, d), append(at, int32(w.next)), append(versions, version)
		size += d.Size
	}
	if len(load) == 0 {
		return nil
	}
	data, errs := w.s.blobs.GetMany(w.ctx, load)
	for i, d := range load {
		if errors.Is(errs[i], cas.ErrNotFound) {
			w.lack(d)
			continue
		}
		if errs[i] != nil {
			return fmt.Errorf("read Directory %s: %w", d, errs[i])
		}
		n, err := parseDirectory(d.Function, data[i])
		if err != nil {
			return w.malformed(at[i], err)
		}
		w.s.nodes.put(nodeKey{d, kindDirectory}, n, versions[i])
		if err := w.names(at[i], n); err != nil {
			return err
		}
	}
	return nil
}

// names notes what a Directory names.
func (w *walk) names(at int32, n *node) error {
	w.ask = append(w.ask, n.files...)
	for _, c := range n.dirs {
		if err := w.found(c, at, w.steps[at].depth+1); err != nil {
			return err
		}
	}
	return nil
}

// look asks the storage for what was noted.
func (w *walk) look() error {
	missing, err := w.s.findMissing(w.ctx, w.ask)
	w.ask = w.ask[:0]
	if err != nil {
		return fmt.Errorf("look for inputs: %w", err)
	}
	for _, d := range missing {
		w.lack(d)
	}
	return nil
}

// findMissing asks in portions: the storage answers each in one breath.
func (s *Store) findMissing(ctx context.Context, ds []digest.Digest) (missing []digest.Digest, err error) {
	for len(ds) > 0 && len(missing) < maxMissing {
		some := ds[:min(len(ds), batchFiles)]
		ds = ds[len(some):]
		more, err := s.blobs.FindMissing(ctx, some)
		if err != nil {
			return nil, err
		}
		missing = append(missing, more...)
	}
	return missing, nil
}

func (w *walk) lack(d digest.Digest) {
	if _, again := w.lacks[d]; again || len(w.missing) >= maxMissing {
		return
	}
	w.lacks[d] = struct{}{}
	w.missing = append(w.missing, d)
}

// malformed says where in the input root which rule is broken.
func (w *walk) malformed(at int32, rule error) error {
	return fmt.Errorf("%w: input root, directory %s: %w", ErrMalformed, w.path(at), rule)
}

// path returns the way to a step, shortened in its middle when long.
func (w *walk) path(at int32) string {
	var names []string
	for ; at > 0; at = w.steps[at].parent {
		names = append(names, w.steps[at].name)
	}
	if len(names) == 0 {
		return `"."`
	}
	const most = 20
	var b strings.Builder
	for i := len(names) - 1; i >= 0; i-- {
		if len(names) > most && i == len(names)-most/2 {
			b.WriteString(".../")
			i = most / 2
		}
		b.WriteString(names[i])
		if i > 0 {
			b.WriteByte('/')
		}
	}
	return fmt.Sprintf("%q", b.String())
}
