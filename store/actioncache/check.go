package actioncache

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"
)

// Check proves the rules of the store: each entry can be read and has one order
// key, each order key its entry, and the numbers agree. It reads everything: it
// is for fsck and for tests. An error wraps ErrInconsistent, with one line for
// each of the first rules broken. Whether blobs are present is not its matter.
func (s *Store) Check(ctx context.Context) error {
	c := checking{ctx: ctx, orders: make(map[uint64]string)}
	err := s.view(func(txn *badger.Txn) error {
		var err error
		c.side = s.side
		if c.meta, err = metaOf(txn, s.side); err != nil {
			return err
		}
		if err := c.each(txn, orderPrefix, c.order); err != nil {
			return err
		}
		return c.each(txn, entryPrefix, c.entry)
	})
	if err != nil {
		return fmt.Errorf("check action cache: %w", err)
	}
	if c.meta.applied > c.meta.begun {
		c.broken("index %d was applied, the last begun is %d", c.meta.applied, c.meta.begun)
	}
	for seq := range c.orders {
		c.broken("order key %d names an entry that is not there", seq)
	}
	if c.entries != c.meta.entries {
		c.broken("%d entries are counted, %d are there", c.meta.entries, c.entries)
	}
	return errors.Join(c.errs...)
}

type checking struct {
	ctx     context.Context //nolint:containedctx // of the one call that it is
	side    side
	meta    meta
	orders  map[uint64]string // the entry's key; deleted once the entry was seen
	entries uint64
	errs    []error
}

// broken notes a broken rule; the first ten are enough.
func (c *checking) broken(format string, args ...any) {
	if len(c.errs) < 10 {
		c.errs = append(c.errs, fmt.Errorf("%w: %s", ErrInconsistent, fmt.Sprintf(format, args...)))
	}
}

func (c *checking) each(txn *badger.Txn, prefix byte, visit func(k, v []byte)) error {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: c.side.at([]byte{prefix})})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		value, err := it.Item().ValueCopy(nil)
		if err != nil {
			return err
		}
		visit(c.side.strip(it.Item().Key()), value)
	}
	return nil
}

func (c *checking) order(k, v []byte) {
	seq := orderOf(k)
	if len(k) != 9 || seq < c.meta.oldest || seq >= c.meta.next {
		c.broken("order key %x is not between %d and %d", k, c.meta.oldest, c.meta.next)
	}
	c.orders[seq] = string(v)
}

func (c *checking) entry(k, v []byte) {
	c.entries++
	name, err := parseKey(k)
	if err != nil {
		c.broken("key %x: %v", k, err)
		return
	}
	r, err := parseRecord(v)
	if err != nil {
		c.broken("action %s: %v", name.action, err)
		return
	}
	if at, ok := c.orders[r.seq]; !ok || at != string(k) {
		c.broken("action %s has no order key %d of its own", name.action, r.seq)
	} else {
		delete(c.orders, r.seq)
	}
	if r.index == 0 || r.index > c.meta.begun {
		c.broken("action %s was written at %d, the last index is %d", name.action, r.index, c.meta.begun)
	}
	if r.blob.IsZero() && proto.Unmarshal(r.result, new(repb.ActionResult)) != nil {
		c.broken("action %s has something that is no ActionResult", name.action)
	}
}

// Dump writes every entry as a line of text, the oldest first, and then their
// number: stores that applied the same commands give the same dump, however the
// commands were grouped.
func (s *Store) Dump(ctx context.Context, to io.Writer) error {
	w := bufio.NewWriter(to)
	err := s.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: s.side.at([]byte{orderPrefix})})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := dumpEntry(w, txn, s.side, it.Item()); err != nil {
				return err
			}
		}
		m, err := metaOf(txn, s.side)
		fmt.Fprintf(w, "entries %d\n", m.entries)
		return err
	})
	if err != nil {
		return fmt.Errorf("dump action cache: %w", err)
	}
	return w.Flush()
}

func dumpEntry(w io.Writer, txn *badger.Txn, on side, order *badger.Item) error {
	at, err := order.ValueCopy(nil)
	if err != nil {
		return err
	}
	name, err := parseKey(at)
	if err != nil {
		return err
	}
	r, err := recordOf(txn, on.at(at))
	if err != nil {
		return err
	}
	content := fmt.Sprintf("inline=%x", sha256.Sum256(r.result))
	if !r.blob.IsZero() {
		content = "blob=" + r.blob.String()
	}
	fmt.Fprintf(w, "entry instance=%q action=%s index=%d %s\n", name.instance, name.action, r.index, content)
	return nil
}

// view reads one state of the store, on the side that is live meanwhile.
func (s *Store) view(read func(*badger.Txn) error) error {
	done, err := s.use()
	if err != nil {
		return err
	}
	defer done()
	s.sideMu.RLock()
	defer s.sideMu.RUnlock()
	return s.db.View(read)
}
