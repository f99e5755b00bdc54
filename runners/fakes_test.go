package runners_test

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// memory is Blobs in memory. It checks each blob that comes in.
type memory struct {
	mu    sync.Mutex
	blobs map[digest.Digest][]byte
	gets  int
	// failPut, when set, is what every store answers.
	failPut error
}

func newMemory() *memory { return &memory{blobs: map[digest.Digest][]byte{}} }

func (m *memory) put(data []byte) digest.Digest {
	d := digest.Of(digest.SHA256, data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[d] = data
	return d
}

func (m *memory) get(d digest.Digest) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[d]
	return b, ok || d.IsEmpty()
}

func (m *memory) drop(d digest.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blobs, d)
}

func (m *memory) GetMany(_ context.Context, ds []digest.Digest) ([][]byte, error) {
	var out [][]byte
	var missing []digest.Digest
	for _, d := range ds {
		if d.Size > runners.MaxSmallBlob {
			panic("GetMany of a large blob")
		}
		b, ok := m.get(d)
		if !ok {
			missing = append(missing, d)
		}
		out = append(out, b)
	}
	m.mu.Lock()
	m.gets += len(ds)
	m.mu.Unlock()
	if missing != nil {
		return nil, &runners.MissingError{Digests: missing}
	}
	return out, nil
}

func (m *memory) Open(_ context.Context, d digest.Digest) (io.ReadCloser, error) {
	b, ok := m.get(d)
	if !ok {
		return nil, &runners.MissingError{Digests: []digest.Digest{d}}
	}
	m.mu.Lock()
	m.gets++
	m.mu.Unlock()
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (m *memory) PutMany(_ context.Context, blobs []runners.Blob) error {
	if m.failPut != nil {
		return m.failPut
	}
	for _, b := range blobs {
		if len(b.Data) > runners.MaxSmallBlob || m.put(b.Data) != b.Digest {
			panic("PutMany of a blob that is too large, or not what its digest says")
		}
	}
	return nil
}

func (m *memory) Upload(_ context.Context, d digest.Digest, open func() (io.ReadCloser, error)) error {
	if m.failPut != nil {
		return m.failPut
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err == nil && m.put(b) != d {
		panic("Upload of something else than its digest says")
	}
	return err
}

// session is Leases for a test: events go in, completions come out.
type session struct {
	events chan runners.Event
	done   chan runners.Completion
	refuse func(runners.Completion) error // of Complete; nil: none
}

func newSession() *session {
	return &session{events: make(chan runners.Event), done: make(chan runners.Completion, 100)}
}

func (s *session) Next(ctx context.Context) (runners.Event, error) {
	select {
	case e, ok := <-s.events:
		if !ok {
			return e, io.EOF
		}
		return e, nil
	case <-ctx.Done():
		return runners.Event{}, ctx.Err()
	}
}

func (s *session) Complete(ctx context.Context, c runners.Completion) error {
	if s.refuse != nil {
		if err := s.refuse(c); err != nil {
			return err
		}
	}
	s.done <- c
	return nil
}
