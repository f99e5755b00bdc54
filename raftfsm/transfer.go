package raftfsm

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// ReplicatedCache is an ActionCache whose content can be sent to another member.
type ReplicatedCache interface {
	ActionCache
	// Export writes everything as of one moment, with AppliedIndex.
	Export(ctx context.Context, to io.Writer) error
	// Import replaces everything by what Export wrote, durably, and as one change
	// for readers; unless AppliedIndex is that far already, or replace is set.
	Import(ctx context.Context, from io.Reader, replace bool) error
}

// A state is sent as
//
//	magic, one section for each store, 'e', SHA-256 of all before
//
// and a section as its letter and chunks, each with its length before it (4
// bytes, big-endian), up to an empty one.
const (
	stateMagic   = "bgrid state 1\n"
	queueSection = 'q'
	cacheSection = 'c'
	endOfState   = 'e'
	maxChunk     = 64 << 10
)

// stores are the state of a member.
type stores struct {
	queue *queue.Store
	cache ReplicatedCache
}

// export implements state. The queue is read first: so the action cache is never
// behind it, as in a store after a crash. Commands that only one has are skipped
// by that one when the log gives them again.
func (s stores) export(ctx context.Context, to io.Writer) error {
	b := bufio.NewWriterSize(to, maxChunk)
	w := &stateWriter{to: b, sum: sha256.New()}
	if err := w.write([]byte(stateMagic)); err != nil {
		return err
	}
	if err := w.section(queueSection, func(to io.Writer) error { return s.queue.Export(ctx, to) }); err != nil {
		return err
	}
	if err := w.section(cacheSection, func(to io.Writer) error { return s.cache.Export(ctx, to) }); err != nil {
		return err
	}
	if err := w.write([]byte{endOfState}); err != nil {
		return err
	}
	if err := w.write(w.sum.Sum(nil)); err != nil {
		return err
	}
	return b.Flush()
}

// load implements state. The action cache goes first: it must never be behind the
// queue.
func (s stores) load(ctx context.Context, from io.ReadSeeker, replace bool) error {
	for _, step := range []struct {
		section byte
		load    func(io.Reader) error
	}{
		{cacheSection, func(r io.Reader) error { return s.cache.Import(ctx, r, replace) }},
		{queueSection, func(r io.Reader) error { return s.queue.Import(ctx, r, replace) }},
	} {
		if _, err := from.Seek(0, io.SeekStart); err != nil {
			return err
		}
		found := false
		err := eachSection(bufio.NewReaderSize(from, maxChunk), func(section byte, r io.Reader) error {
			if section != step.section {
				return nil
			}
			found = true
			return step.load(r)
		})
		if err == nil && !found {
			err = fmt.Errorf("%w: section %q is missing", errState, step.section)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sync implements state. The action cache is durable as it is.
func (s stores) sync(ctx context.Context) error { return s.queue.Sync(ctx) }

// errState means that bytes are no state.
var errState = errors.New("malformed state")

type stateWriter struct {
	to  io.Writer
	sum hash.Hash
}

func (w *stateWriter) write(b []byte) error {
	w.sum.Write(b)
	_, err := w.to.Write(b)
	return err
}

func (w *stateWriter) section(letter byte, export func(io.Writer) error) error {
	if err := w.write([]byte{letter}); err != nil {
		return err
	}
	b := bufio.NewWriterSize(chunkWriter{w}, maxChunk)
	if err := export(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return w.write(make([]byte, 4))
}

type chunkWriter struct{ w *stateWriter }

func (c chunkWriter) Write(b []byte) (int, error) {
	n := 0
	for len(b) > n {
		part := b[n:min(len(b), n+maxChunk)]
		if err := c.w.write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))); err != nil {
			return n, err
		}
		if err := c.w.write(part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// eachSection calls do for each section. What it leaves unread is skipped.
func eachSection(r io.Reader, do func(section byte, r io.Reader) error) error {
	magic := make([]byte, len(stateMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != stateMagic {
		return fmt.Errorf("%w: it does not begin as this version writes it", errState)
	}
	for {
		var letter [1]byte
		if _, err := io.ReadFull(r, letter[:]); err != nil {
			return fmt.Errorf("%w: it ends early", errState)
		}
		if letter[0] == endOfState {
			return nil
		}
		c := &chunkReader{r: r}
		if err := do(letter[0], c); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			return err
		}
	}
}

// chunkReader reads the chunks of a section.
type chunkReader struct {
	r    io.Reader
	left uint32 // of the chunk
	end  bool
}

func (c *chunkReader) Read(b []byte) (int, error) {
	for c.left == 0 {
		if c.end {
			return 0, io.EOF
		}
		var n [4]byte
		if _, err := io.ReadFull(c.r, n[:]); err != nil {
			return 0, fmt.Errorf("%w: a section ends early", errState)
		}
		if c.left = binary.BigEndian.Uint32(n[:]); c.left > maxChunk {
			return 0, fmt.Errorf("%w: a chunk of %d bytes, at most %d are allowed", errState, c.left, maxChunk)
		}
		c.end = c.left == 0
	}
	n, err := c.r.Read(b[:min(len(b), int(c.left))])
	c.left -= uint32(n)
	if err == io.EOF {
		err = fmt.Errorf("%w: a chunk ends early", errState)
	}
	return n, err
}

// verifyState tells whether a file holds a whole state.
func verifyState(f io.ReadSeeker) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum := sha256.New()
	r := bufio.NewReaderSize(f, maxChunk)
	if err := eachSection(io.TeeReader(r, sum), func(byte, io.Reader) error { return nil }); err != nil {
		return err
	}
	want := sum.Sum(nil)
	got, err := io.ReadAll(io.LimitReader(r, sha256.Size+1))
	if err != nil {
		return err
	}
	if string(got) != string(want) {
		return fmt.Errorf("%w: its checksum is wrong", errState)
	}
	return nil
}

// Snapshot implements raft.FSM: a marker, once the stores are durable.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.failure.get(); err != nil {
		return nil, err
	}
	if f.ctx.Err() != nil {
		return nil, ErrStopped
	}
	return mark{f}, nil
}

// mark makes the stores durable. They may have gone on since Snapshot.
type mark struct{ f *fsm }

// Persist implements raft.FSMSnapshot.
func (m mark) Persist(raft.SnapshotSink) error { return m.f.snaps.state.sync(m.f.ctx) }

// Release implements raft.FSMSnapshot.
func (mark) Release() {}

// Restore implements raft.FSM: it takes over the state that the leader sent, in
// use as the stores are. It returns only when that is done, or when the proposer
// is closed: then OpenRaft finishes it.
func (f *fsm) Restore(io.ReadCloser) error {
	if err := f.failure.get(); err != nil {
		return err
	}
	m := f.snaps.pending()
	if m == nil {
		return errors.New("restore: no state came in")
	}
	if err := f.retry("take over the state of the leader", func() error {
		if err := f.finish(f.ctx); err != nil {
			return err
		}
		return continueLog(f.entries, m) // Raft waits: nobody else uses the log
	}); err != nil {
		return f.fatal(err).err
	}
	f.keep(m.Index)
	f.advance(m.Index)
	f.replaced(lastIndex(m.Index))
	return nil
}

// unusable are errors of a state, or of stores, that trying again does not mend.
var unusable = [...]error{errState, queue.ErrState, queue.ErrInconsistent, actioncache.ErrState, actioncache.ErrInconsistent}

// finish loads the pending state. A state that no store can take stops the
// machine.
func (f *fsm) finish(ctx context.Context) error {
	err := f.snaps.finish(ctx)
	if slices.ContainsFunc(unusable[:], func(e error) bool { return errors.Is(err, e) }) {
		return f.machine.stop(fmt.Errorf("take over the state of the leader: %w", err))
	}
	return err
}
