package actioncache

import (
	"context"
	"errors"
	"fmt"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// Get returns the result of an action when everything that it names is present,
// and protects all of that; otherwise ErrNotFound. The result is shared: nobody
// may change it. Repeated calls return the same pointer while the entry is
// neither replaced nor forgotten from memory.
func (s *Store) Get(ctx context.Context, instance string, action digest.Digest) (*repb.ActionResult, error) {
	k := key{instance, action}
	era := s.era.now(s.blobs)
	r, version, ok := s.results.get(k)
	if ok && r.era.Load() == era {
		s.counters.hits.Add(1)
		return r.result, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	for !ok {
		var err error
		if r, err = s.load(ctx, k, era); err != nil {
			return nil, err
		}
		if r, ok = s.results.put(k, r, version); !ok { // written meanwhile
			_, version, _ = s.results.get(k)
		}
	}
	whole, err := s.whole(ctx, r, era)
	if err != nil {
		return nil, fmt.Errorf("check action result of %s: %w", action, err)
	}
	if !whole {
		return nil, s.incomplete(k, r, era)
	}
	r.era.Store(era)
	s.counters.hits.Add(1)
	return r.result, nil
}

// incomplete counts and reports an entry that names something missing.
func (s *Store) incomplete(k key, r *result, era uint64) error {
	s.counters.incomplete.Add(1)
	if r.reported.Swap(era) != era && s.dangling.Allow() {
		s.opt.OnDangling(k.instance, k.action, r.index)
	}
	return ErrNotFound
}

// load reads an entry from the disk. ErrNotFound when there is none, and when
// its result is a blob that is gone.
func (s *Store) load(ctx context.Context, k key, era uint64) (*result, error) {
	var r record
	err := s.view(func(txn *badger.Txn) (err error) {
		r, err = recordOf(txn, s.side.at(k.bytes()))
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		s.counters.misses.Add(1)
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read action result of %s: %w", k.action, err)
	}
	out := &result{index: r.index}
	if !r.blob.IsZero() {
		if r.result, err = s.blobs.Get(ctx, r.blob); errors.Is(err, cas.ErrNotFound) {
			return nil, s.incomplete(k, out, era)
		}
		if err != nil {
			return nil, fmt.Errorf("read action result of %s: %w", k.action, err)
		}
		out.blobs = append(out.blobs, r.blob)
	}
	out.result = new(repb.ActionResult)
	if proto.Unmarshal(r.result, out.result) != nil {
		out.broken = true
	} else {
		out.collect(k.action.Function)
	}
	out.wire = len(r.result)
	return out, nil
}

// recordOf reads the record under a key; its result is a copy.
func recordOf(txn *badger.Txn, at []byte) (r record, err error) {
	item, err := txn.Get(at)
	if err != nil {
		return r, err
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return r, err
	}
	return parseRecord(value)
}

// headerOf reads a record without its result.
func headerOf(txn *badger.Txn, at []byte) (r record, exists bool, err error) {
	item, err := txn.Get(at)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	err = item.Value(func(v []byte) error {
		r, err = parseRecord(v)
		r.result = nil
		return err
	})
	return r, err == nil, err
}
