package runners

import (
	"context"
	"fmt"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

const (
	// maxInputs bounds the entries of an input root: those of its distinct
	// directories, and those of all its paths. The second differs much from the
	// first only in messages made to blow up.
	maxInputs = 1 << 20
	// maxTreeBytes bounds the Directory messages of an input root.
	maxTreeBytes = 128 << 20
	// maxDepth bounds how deep directories nest: each level takes two bytes of a
	// path at least.
	maxDepth = maxPath / 2
)

// inputTree is the parsed input root.
type inputTree struct {
	root *directory
	dirs map[digest.Digest]*directory // of all below the root; nil when there are none
	// marked is set when any directory is, see mark.
	marked bool
}

var emptyDirectory = &directory{}

// loadTree reads all directories below root, one batch a level, and checks that
// what they add up to is within bounds.
func (w *Worker) loadTree(ctx context.Context, root *directory) (*inputTree, error) {
	t := &inputTree{root: root, marked: root.mark != unmarked}
	if len(root.dirs) == 0 {
		return t, nil
	}
	t.dirs = map[digest.Digest]*directory{}
	entries, bytes := root.entries(), int64(0)
	level := t.unknownBelow([]*directory{root})
	for depth := 1; len(level) > 0; depth++ {
		for _, d := range level {
			if bytes += d.Size; bytes > maxTreeBytes {
				return nil, Invalid("the directories of the input root have more than %d bytes", maxTreeBytes)
			}
		}
		if depth > maxDepth {
			return nil, Invalid("the input root nests deeper than %d directories", maxDepth)
		}
		found, err := w.loadLevel(ctx, level)
		if err != nil {
			return nil, err
		}
		for i, dir := range found {
			t.dirs[level[i]] = dir
			t.marked = t.marked || dir.mark != unmarked
			if entries += dir.entries(); entries > maxInputs {
				return nil, Invalid("the input root has more than %d entries", maxInputs)
			}
		}
		level = t.unknownBelow(found)
	}
	_, err := t.count(root, map[*directory]int{}, 0)
	return t, err
}

func (d *directory) entries() int { return len(d.files) + len(d.dirs) + len(d.links) }

// unknownBelow lists the directories named in found that are not loaded yet, each
// once.
func (t *inputTree) unknownBelow(found []*directory) []digest.Digest {
	var next []digest.Digest
	for _, dir := range found {
		for _, sub := range dir.dirs {
			if _, ok := t.dirs[sub.digest]; !ok {
				t.dirs[sub.digest] = nil // so that it is listed once
				next = append(next, sub.digest)
			}
		}
	}
	return next
}

// count adds up the entries of all paths below dir.
func (t *inputTree) count(dir *directory, known map[*directory]int, depth int) (int, error) {
	if n, ok := known[dir]; ok {
		return n, nil
	}
	if depth > maxDepth {
		return 0, Invalid("the input root nests deeper than %d directories", maxDepth)
	}
	n := dir.entries()
	for _, sub := range dir.dirs {
		below, err := t.count(t.dirs[sub.digest], known, depth+1)
		if err != nil {
			return 0, err
		}
		if n += below; n > maxInputs {
			return 0, Invalid("the input root has more than %d entries", maxInputs)
		}
	}
	known[dir] = n
	return n, nil
}

// loadLevel returns the directories asked for, from memory where they are.
func (w *Worker) loadLevel(ctx context.Context, ds []digest.Digest) ([]*directory, error) {
	out := make([]*directory, len(ds))
	var need []digest.Digest
	for i, d := range ds {
		var ok bool
		if out[i], ok = w.knownDirectory(d); !ok {
			need = append(need, d)
		}
	}
	if len(need) == 0 {
		return out, nil
	}
	blobs, err := w.getMany(ctx, need)
	if err != nil {
		return nil, fmt.Errorf("fetch input directories: %w", err)
	}
	for i, d := range ds {
		if out[i] != nil {
			continue
		}
		if out[i], err = w.learnDirectory(d, blobs[0]); err != nil {
			return nil, err
		}
		blobs = blobs[1:]
	}
	return out, nil
}

// knownDirectory returns a directory that is in memory.
func (w *Worker) knownDirectory(d digest.Digest) (*directory, bool) {
	if d.IsEmpty() {
		return emptyDirectory, true
	}
	return w.dirs.get(d)
}

// learnDirectory parses a directory and keeps it in memory.
func (w *Worker) learnDirectory(d digest.Digest, data []byte) (*directory, error) {
	dir, err := parseDirectory(d, data)
	if err != nil {
		return nil, err
	}
	w.dirs.add(d, dir, dir.cost)
	return dir, nil
}
