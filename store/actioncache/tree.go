package actioncache

import (
	"context"
	"errors"
	"fmt"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// maxTreeBytes bounds a Tree: it is read as a whole.
const maxTreeBytes = 32 << 20

// Fields of Tree.
const (
	treeRoot     protowire.Number = 1
	treeChildren protowire.Number = 2
)

// parseTree reads and checks a Tree (REAPI, Tree): each of its Directories, and
// that it contains each that they name.
func parseTree(fn digest.Function, data []byte) (*node, error) {
	t := treeParser{fn: fn, named: make(map[digest.Digest]struct{}), has: make(map[digest.Digest]struct{}), files: make(map[digest.Digest]struct{})}
	err := fields(data, func(num protowire.Number, value []byte) error {
		if num != treeRoot && num != treeChildren {
			return nil
		}
		return t.directory(value)
	})
	if errors.Is(err, errWire) {
		return nil, fmt.Errorf("not a Tree: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return t.node()
}

type treeParser struct {
	fn    digest.Function
	raw   [][]byte
	named map[digest.Digest]struct{} // directories
	has   map[digest.Digest]struct{} // directories
	files map[digest.Digest]struct{}
	order []digest.Digest // of files
}

func (t *treeParser) directory(message []byte) error {
	d := digest.Of(t.fn, message)
	if _, again := t.has[d]; again {
		return nil
	}
	n, err := parseDirectory(t.fn, message)
	if err != nil {
		return fmt.Errorf("Directory %d of the Tree: %w", len(t.raw), err)
	}
	t.has[d] = struct{}{}
	t.raw = append(t.raw, message)
	for _, f := range n.files {
		if _, again := t.files[f]; !again {
			t.files[f] = struct{}{}
			t.order = append(t.order, f)
		}
	}
	for _, c := range n.dirs {
		t.named[c.digest] = struct{}{}
	}
	return nil
}

func (t *treeParser) node() (*node, error) {
	if len(t.lacking()) > 0 {
		// The digests may be those of another serialisation of the same Directories.
		for _, message := range t.raw {
			var d repb.Directory
			if proto.Unmarshal(message, &d) != nil {
				continue
			}
			if again, err := (proto.MarshalOptions{Deterministic: true}).Marshal(&d); err == nil {
				t.has[digest.Of(t.fn, again)] = struct{}{}
			}
		}
	}
	if lacking := t.lacking(); len(lacking) > 0 {
		return nil, fmt.Errorf("the Tree lacks %d Directories that it names, among them %s", len(lacking), lacking[0])
	}
	return &node{files: t.order}, nil
}

func (t *treeParser) lacking() (ds []digest.Digest) {
	for d := range t.named {
		if _, ok := t.has[d]; !ok && !d.IsEmpty() {
			ds = append(ds, d)
		}
	}
	return ds
}

// treeWhole tells whether a Tree and all that it names is present, and protects
// it. A blob that is no valid Tree gives an error that wraps ErrMalformed.
func (s *Store) treeWhole(ctx context.Context, d digest.Digest, era uint64) (bool, error) {
	k := nodeKey{d, kindTree}
	if s.wholeIn(k, era) {
		return true, nil
	}
	n, version, ok := s.nodes.get(k)
	ask := make([]digest.Digest, 0, 1)
	if ok {
		ask = append(ask, d)
	} else {
		if d.Size > maxTreeBytes {
			return false, fmt.Errorf("%w: Tree %s: at most %d bytes are taken", ErrMalformed, d, maxTreeBytes)
		}
		data, err := s.blobs.Get(ctx, d)
		if errors.Is(err, cas.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read Tree %s: %w", d, err)
		}
		if n, err = parseTree(d.Function, data); err != nil {
			return false, fmt.Errorf("%w: Tree %s: %w", ErrMalformed, d, err)
		}
		s.nodes.put(k, n, version)
	}
	missing, err := s.findMissing(ctx, append(ask, n.files...))
	if err != nil || len(missing) > 0 {
		return false, err
	}
	s.markWhole(k, era)
	return true, nil
}
