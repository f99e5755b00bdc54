package actioncache

import (
	"context"
	"errors"
	"sync/atomic"
	"unsafe"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// result is an entry in memory. All but the atomic fields never change.
type result struct {
	result *repb.ActionResult
	index  uint64
	wire   int // serialised bytes of result
	broken bool

	blobs []digest.Digest // that must be present
	trees []digest.Digest // with all that they name
	roots []digest.Digest // Directories, likewise

	era      atomic.Uint64 // in which everything was last found present
	reported atomic.Uint64 // era in which it was last told that something is missing
}

// bytes estimates the memory: a parsed message takes a few times its size.
func (r *result) bytes() int {
	return 600 + 4*r.wire + (len(r.blobs)+len(r.trees)+len(r.roots))*int(unsafe.Sizeof(digest.Digest{}))
}

// collect notes what the result names (REAPI, ActionResult). Standard output and
// error need no blob when they are inline, as BuildGrid has it; inlined files
// do. A digest that is none makes the result broken: nobody can serve it.
func (r *result) collect(fn digest.Function) {
	add := func(to *[]digest.Digest, p *repb.Digest) {
		d, err := digest.FromProto(fn, p)
		if err != nil {
			r.broken = true
			return
		}
		*to = append(*to, d)
	}
	for _, f := range r.result.GetOutputFiles() {
		add(&r.blobs, f.GetDigest())
	}
	for _, d := range r.result.GetOutputDirectories() {
		if d.GetTreeDigest() == nil && d.GetRootDirectoryDigest() == nil {
			r.broken = true
		}
		if p := d.GetTreeDigest(); p != nil {
			add(&r.trees, p)
		}
		if p := d.GetRootDirectoryDigest(); p != nil {
			add(&r.roots, p)
		}
	}
	if p := r.result.GetStdoutDigest(); p != nil && len(r.result.GetStdoutRaw()) == 0 {
		add(&r.blobs, p)
	}
	if p := r.result.GetStderrDigest(); p != nil && len(r.result.GetStderrRaw()) == 0 {
		add(&r.blobs, p)
	}
}

// whole tells whether everything that a result names is present, and protects
// it. What is malformed counts as missing: nobody could use it.
func (s *Store) whole(ctx context.Context, r *result, era uint64) (bool, error) {
	if r.broken {
		return false, nil
	}
	if len(r.blobs) > 0 {
		missing, err := s.findMissing(ctx, r.blobs)
		if err != nil || len(missing) > 0 {
			return false, err
		}
	}
	for _, d := range r.trees {
		ok, err := s.treeWhole(ctx, d, era)
		if errors.Is(err, ErrMalformed) {
			return false, nil
		}
		if err != nil || !ok {
			return false, err
		}
	}
	for _, d := range r.roots {
		missing, err := s.InputRoot(ctx, d)
		if errors.Is(err, ErrMalformed) {
			return false, nil
		}
		if err != nil || len(missing) > 0 {
			return false, err
		}
	}
	return true, nil
}
