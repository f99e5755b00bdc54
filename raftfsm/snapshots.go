package raftfsm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hashicorp/raft"
)

// Files of the snapshots in the proposer's directory.
const (
	markerFile   = "marker.json"    // the last marker
	incomingFile = "incoming.json"  // a marker whose state is not in the stores yet
	stateFile    = "incoming.state" // that state
	tempSuffix   = ".tmp"           // of what is not finished: removed at the start
)

// marker is a snapshot as it is kept: the state itself is in the stores, which
// have applied everything up to Index, and perhaps more.
type marker struct {
	raft.SnapshotMeta
	// Replace says that what the stores hold does not come from this cluster: it
	// is to be replaced even when its index is higher. Of an incoming marker.
	Replace bool `json:",omitempty"`
}

// state is what the snapshots need of the stores.
type state interface {
	// export writes all that the stores hold, at one index or nearly so.
	export(ctx context.Context, to io.Writer) error
	// load takes over what export wrote, in place of what the stores hold, unless
	// they are further; replace: even then. It can be done again.
	load(ctx context.Context, from io.ReadSeeker, replace bool) error
	// sync makes the stores durable.
	sync(ctx context.Context) error
}

// snapshots is a raft.SnapshotStore of markers. Only a follower that is too far
// behind for the log is sent the state, which is read from the stores then.
type snapshots struct {
	dir   string
	log   *slog.Logger
	state state
	ctx   context.Context //nolint:containedctx // ends with the proposer

	mu       sync.Mutex
	last     *marker
	incoming *marker
}

// openSnapshots reads the markers of a directory, and removes what is unfinished.
func openSnapshots(ctx context.Context, dir string, st state, log *slog.Logger) (*snapshots, error) {
	s := &snapshots{dir: dir, log: log, state: st, ctx: ctx}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range names {
		if strings.HasSuffix(e.Name(), tempSuffix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	if s.last, err = readMarker(s.path(markerFile)); err != nil {
		return nil, err
	}
	if s.incoming, err = readMarker(s.path(incomingFile)); err != nil {
		return nil, err
	}
	if s.incoming == nil {
		err = os.Remove(s.path(stateFile))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return s, nil
}

func (s *snapshots) path(name string) string { return filepath.Join(s.dir, name) }

// marker returns the last one, or nil.
func (s *snapshots) marker() *marker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// index is that of the last marker; 0 when there is none.
func (s *snapshots) index() uint64 {
	if m := s.marker(); m != nil {
		return m.Index
	}
	return 0
}

// pending returns the marker whose state is not in the stores yet, or nil.
func (s *snapshots) pending() *marker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.incoming
}

// List implements raft.SnapshotStore.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*raft.SnapshotMeta
	for _, m := range []*marker{s.incoming, s.last} {
		if m != nil {
			meta := m.SnapshotMeta
			out = append(out, &meta)
		}
	}
	return out, nil
}

// Open implements raft.SnapshotStore: the state that is being installed here, or
// what the stores hold now, for a follower.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	incoming, last := s.incoming, s.last
	s.mu.Unlock()
	switch {
	case incoming != nil && incoming.ID == id:
		f, err := os.Open(s.path(stateFile))
		return &incoming.SnapshotMeta, f, err
	case last == nil || last.ID != id:
		return nil, nil, fmt.Errorf("open snapshot %s: there is none", id)
	}
	f, size, err := s.spool()
	if err != nil {
		return nil, nil, fmt.Errorf("export the stores for a follower: %w", err)
	}
	meta := last.SnapshotMeta
	meta.Size = size
	return &meta, f, nil
}

// spool writes the state to a file without a name: Raft must know its size before
// it begins to send.
func (s *snapshots) spool() (*os.File, int64, error) {
	f, err := os.CreateTemp(s.dir, "export-*"+tempSuffix)
	if err != nil {
		return nil, 0, err
	}
	err = errors.Join(os.Remove(f.Name()), s.state.export(s.ctx, f))
	if err == nil {
		var size int64
		if size, err = f.Seek(0, io.SeekCurrent); err == nil {
			if _, err = f.Seek(0, io.SeekStart); err == nil {
				return f, size, nil
			}
		}
	}
	return nil, 0, errors.Join(err, f.Close())
}

// Create implements raft.SnapshotStore.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{s: s, m: marker{SnapshotMeta: raft.SnapshotMeta{
		Version: version, ID: markerID(index, term), Index: index, Term: term,
		Configuration: c, ConfigurationIndex: configurationIndex,
	}}}, nil
}

func markerID(index, term uint64) string { return fmt.Sprintf("%d-%d", index, term) }

// put makes m the last marker. The stores are durable up to its index.
func (s *snapshots) put(m *marker) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.incoming != nil || (s.last != nil && s.last.Index > m.Index) {
		return fmt.Errorf("write marker %s: a newer one came in between", m.ID)
	}
	if err := writeMarker(s.path(markerFile), m); err != nil {
		return fmt.Errorf("write marker %s: %w", m.ID, err)
	}
	s.last = m
	return nil
}

// receive makes m the marker whose state lies in the file given, whole and synced.
// One that is below the last marker was late on its way: Raft would go back to it,
// and the log does not. Any other may come twice, when the leader did not hear that
// it was taken over.
func (s *snapshots) receive(m *marker, file string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil && m.Index < s.last.Index {
		return fmt.Errorf("the log begins at %d", s.last.Index)
	}
	m.Replace = s.last == nil
	if err := os.Rename(file, s.path(stateFile)); err != nil {
		return err
	}
	if err := writeMarker(s.path(incomingFile), m); err != nil {
		return err
	}
	s.incoming = m
	return nil
}

// finish loads the pending state into the stores, if there is one. It can be done
// again after an error or a crash.
func (s *snapshots) finish(ctx context.Context) error {
	m := s.pending()
	if m == nil {
		return nil
	}
	f, err := os.Open(s.path(stateFile))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.state.load(ctx, f, m.Replace); err != nil {
		return err
	}
	if err := s.state.sync(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := rename(s.path(incomingFile), s.path(markerFile)); err != nil {
		return err
	}
	s.last, s.incoming = m, nil
	if err := os.Remove(s.path(stateFile)); err != nil {
		s.log.Warn("cannot remove a state that was taken over", "error", err)
	}
	return nil
}

// sink is a snapshot on its way in: of this member, which writes nothing, or of
// the leader, with its state.
type sink struct {
	s      *snapshots
	m      marker
	file   *os.File
	closed bool
}

// ID implements raft.SnapshotSink.
func (k *sink) ID() string { return k.m.ID }

// Write implements io.Writer.
func (k *sink) Write(b []byte) (int, error) {
	if err := k.s.ctx.Err(); err != nil {
		return 0, err
	}
	if k.file == nil {
		f, err := os.CreateTemp(k.s.dir, "incoming-*"+tempSuffix)
		if err != nil {
			return 0, err
		}
		k.file = f
	}
	n, err := k.file.Write(b)
	k.m.Size += int64(n)
	return n, err
}

// Close implements raft.SnapshotSink.
func (k *sink) Close() error {
	if k.closed {
		return nil
	}
	k.closed = true
	m := k.m
	if k.file == nil {
		return k.s.put(&m)
	}
	err := verifyState(k.file)
	err = errors.Join(err, k.file.Sync(), k.file.Close())
	if err == nil {
		err = k.s.receive(&m, k.file.Name())
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("receive state %s: %w", m.ID, err), removeIfThere(k.file.Name()))
	}
	return err
}

// Cancel implements raft.SnapshotSink.
func (k *sink) Cancel() error {
	if k.closed {
		return nil
	}
	k.closed = true
	if k.file == nil {
		return nil
	}
	return errors.Join(k.file.Close(), os.Remove(k.file.Name()))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readMarker returns nil when there is none.
func readMarker(path string) (*marker, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &marker{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

// writeMarker replaces a marker durably, or not at all.
func writeMarker(path string, m *marker) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	f, err := os.Create(path + tempSuffix)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return rename(path+tempSuffix, path)
}

// rename is durable when it returns.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
