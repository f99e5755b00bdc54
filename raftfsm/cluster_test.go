package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// member is a Raft with stores of its own.
type member struct {
	t     testing.TB
	id    string
	dir   string
	net   *network
	trans *raft.InmemTransport
	q     *queue.Store
	cache *fakeCache
	seen  *recorder
	opts  RaftOptions // what a test changes
	raft  *Raft
	up    bool
}

// network connects members by name.
type network struct {
	mu      sync.Mutex
	members []*member
}

// newCluster opens n members that do not know each other yet. adapt may change
// their options.
func newCluster(t testing.TB, n int, adapt func(*RaftOptions)) []*member {
	net := &network{}
	for i := range n {
		m := &member{t: t, id: fmt.Sprintf("n%d", i), dir: t.TempDir(), net: net, cache: &fakeCache{}, seen: &recorder{}}
		if adapt != nil {
			adapt(&m.opts)
		}
		net.members = append(net.members, m)
		m.start()
		t.Cleanup(m.stop)
	}
	return net.members
}

// formed is a cluster that has a leader.
func formed(t testing.TB, n int, adapt func(*RaftOptions)) []*member {
	ms := newCluster(t, n, adapt)
	if err := ms[0].raft.Bootstrap(servers(ms)); err != nil {
		t.Fatal(err)
	}
	leaderOf(t, ms)
	return ms
}

func servers(ms []*member) []raft.Server {
	var out []raft.Server
	for _, m := range ms {
		out = append(out, raft.Server{ID: raft.ServerID(m.id), Address: raft.ServerAddress(m.id)})
	}
	return out
}

// start opens a member's stores and its Raft.
func (m *member) start() {
	m.t.Helper()
	ctx := context.Background()
	var err error
	m.q, err = queue.Open(ctx, queue.Options{Path: filepath.Join(m.dir, "queue.db"), LazySync: true, Logger: quiet()})
	if err != nil {
		m.t.Fatal(err)
	}
	_, m.trans = raft.NewInmemTransport(raft.ServerAddress(m.id))
	o := m.opts
	o.Queue, o.Observer, o.Logger = m.q, m.seen.observe, quiet()
	if o.ActionCache == nil {
		o.ActionCache = m.cache
	}
	o.Dir, o.NodeID, o.Transport = filepath.Join(m.dir, "raft"), m.id, m.trans
	if m.raft, err = OpenRaft(ctx, o); err != nil {
		m.t.Fatal(err)
	}
	m.up = true
	m.connect()
}

// connect joins a member with all that are up.
func (m *member) connect() {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	for _, o := range m.net.members {
		if o != m && o.up {
			o.trans.Connect(raft.ServerAddress(m.id), m.trans)
			m.trans.Connect(raft.ServerAddress(o.id), o.trans)
		}
	}
}

// cut parts a member from all others.
func (m *member) cut() {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	m.trans.DisconnectAll()
	for _, o := range m.net.members {
		o.trans.Disconnect(raft.ServerAddress(m.id))
	}
}

func (m *member) stop() {
	if !m.up {
		return
	}
	m.cut()
	m.up = false
	if err := errors.Join(m.raft.Close(), m.q.Close()); err != nil {
		m.t.Error(err)
	}
}

// wipe removes what a stopped member has on its disk.
func (m *member) wipe() {
	names, err := os.ReadDir(m.dir)
	for _, n := range names {
		err = errors.Join(err, os.RemoveAll(filepath.Join(m.dir, n.Name())))
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.cache = &fakeCache{}
}

// leaderOf waits for a leader that can do something.
func leaderOf(t testing.TB, ms []*member) *member {
	t.Helper()
	for range 4000 {
		for _, m := range ms {
			if m.up && m.raft.IsLeader() && m.raft.Barrier(t.Context()) == nil {
				return m
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("no leader")
	return nil
}

// elected waits for a leader of which nothing more is known.
func elected(ms []*member) *member {
	for {
		for _, m := range ms {
			if m.up && m.raft.IsLeader() {
				return m
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// others are those that are up, but for one.
func others(ms []*member, but *member) []*member {
	return slices.DeleteFunc(slices.Clone(ms), func(m *member) bool { return m == but || !m.up })
}

// do proposes an entry through a member, which must succeed.
func (m *member) do(e *commandpb.Entry) Result {
	m.t.Helper()
	r, err := m.raft.Propose(m.t.Context(), e)
	if err = errors.Join(append(r.Errors, err)...); err != nil {
		m.t.Fatal(err)
	}
	return r
}

// caughtUp waits until all that are up have applied what the leader has.
func caughtUp(t testing.TB, ms []*member) {
	t.Helper()
	index, err := leaderOf(t, ms).raft.ReadIndex(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		if !m.up {
			continue
		}
		if err := m.raft.WaitApplied(t.Context(), index); err != nil {
			t.Fatal(m.id, err)
		}
	}
}

// dump is all that a member has.
func (m *member) dump() string {
	m.t.Helper()
	var b strings.Builder
	if err := errors.Join(m.q.Check(m.t.Context()), m.q.Dump(m.t.Context(), &b)); err != nil {
		m.t.Fatal(m.id, err)
	}
	m.cache.mu.Lock()
	defer m.cache.mu.Unlock()
	var lines []string
	for k, v := range m.cache.entries {
		lines = append(lines, fmt.Sprint(k, v))
	}
	slices.Sort(lines)
	return b.String() + strings.Join(lines, "\n")
}

// same waits for all members to be where the leader is, and compares them.
func same(t testing.TB, ms []*member) {
	t.Helper()
	caughtUp(t, ms)
	want := leaderOf(t, ms).dump()
	for _, m := range ms {
		if m.up && m.dump() != want {
			t.Errorf("%s differs:\n%s\nwant:\n%s", m.id, m.dump(), want)
		}
	}
}
