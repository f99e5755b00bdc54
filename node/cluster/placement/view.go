package placement

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// mask is a set of members by their position in a view.
type mask uint64

const maxMembers = 64

func one(i int) mask               { return 1 << i }
func (m mask) has(i int) bool      { return m>>i&1 != 0 }
func (m mask) count() int          { return bits.OnesCount64(uint64(m)) }
func (m mask) without(o mask) mask { return m &^ o }
func (m mask) first() int          { return bits.TrailingZeros64(uint64(m)) }

// member is a voter from the moment that it can be reached until it cannot.
type member struct {
	id   string
	salt uint64 // of its scores
	self bool
	conn func() (*grpc.ClientConn, error)

	alive context.Context //nolint:containedctx // ends when it cannot be reached any more
	lose  context.CancelFunc
	full  atomic.Int64 // Unix nanoseconds until which it is asked last to take a blob
}

// nobody is the position of a node that is not among the members.
const nobody = -1

// view is what this node knows of the cluster at one time. It is never changed.
type view struct {
	members []*member // all voters, by id
	up      mask      // those that can be reached, this node among them
	self    int       // position of this node, or nobody
	joined  bool      // a view of a cluster; false: of a node that is alone, before Join
	copies  int       // of each blob, when as many members can be reached
	least   int       // copies that each acknowledged blob has, whatever happens
	quorum  func() bool

	since time.Time     // when these members could first be reached, and no others
	over  chan struct{} // closed when there is another view
}

// alone tells that there is nobody else to keep blobs.
func (v *view) alone() bool { return !v.joined || len(v.members) == 1 && v.self != nobody }

// outside tells that this node is no member of its cluster, or not yet. What it
// knows of the members may be old, so that it cannot say that a blob is missing.
func (v *view) outside() bool { return v.joined && v.self == nobody }

// wanted is how many copies there can be now.
func (v *view) wanted() int { return min(v.copies, v.up.count()) }

// enoughCopies is how many a blob must have to be called present: never fewer than
// what makes "missing" certain.
func (v *view) enoughCopies() int { return max(v.wanted(), v.least) }

// away names the members that are not in answered.
func (v *view) away(answered mask) []string {
	var ids []string
	for i, m := range v.members {
		if !answered.has(i) {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// order appends the positions of the members that can be reached to buf, in the
// order in which they keep a blob: the first are its owners. It depends on their
// ids and the blob alone (rendezvous hashing), so that all nodes agree, and the
// loss of a member moves no blob between the others.
func (v *view) order(d *digest.Digest, buf []int) []int {
	var scores [maxMembers]uint64
	key := binary.LittleEndian.Uint64(d.Hash[:])
	for i, m := range v.members {
		if !v.up.has(i) {
			continue
		}
		scores[i] = mix(key ^ m.salt)
		at := len(buf)
		buf = append(buf, i)
		for ; at > 0 && scores[buf[at-1]] < scores[i]; at-- {
			buf[at] = buf[at-1]
		}
		buf[at] = i
	}
	return buf
}

// owners are the members that should have a blob.
func (v *view) owners(d *digest.Digest) (set mask) {
	var buf [maxMembers]int
	for _, i := range v.order(d, buf[:0])[:v.wanted()] {
		set |= one(i)
	}
	return set
}

// takers is order with the members last that lately had no room.
func (v *view) takers(d *digest.Digest, buf []int) []int {
	buf = v.order(d, buf)
	now := time.Now().UnixNano()
	crowded := func(at int) bool { return v.members[at].full.Load() > now }
	if slices.ContainsFunc(buf, crowded) {
		roomy := slices.DeleteFunc(slices.Clone(buf), crowded)
		buf = append(roomy, slices.DeleteFunc(buf, func(at int) bool { return !crowded(at) })...)
	}
	return buf
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// saltOf spreads ids, which may differ in one digit only.
func saltOf(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return mix(h.Sum64())
}

// look makes a new view. A member that could be reached and cannot any more, or is
// a member no more, takes its copies with it: what was remembered of presence is
// void then.
func (b *Blobs) look(peers Peers) {
	b.looking.Lock()
	defer b.looking.Unlock()
	old, v := b.view.Load(), &view{self: nobody, joined: true, quorum: peers.Quorum, since: time.Now(), over: make(chan struct{})}
	ids := slices.Clone(peers.Members())
	slices.Sort(ids)
	ids = slices.Compact(ids)
	voter := slices.Contains(ids, peers.Self())
	if len(ids) == 0 { // there are others, and nobody knows them yet: as if none could be reached
		ids = []string{peers.Self()}
	}
	ids = ids[:min(len(ids), maxMembers)]
	before := make(map[string]*member, len(old.members))
	for i, m := range old.members {
		if old.up.has(i) {
			before[m.id] = m
		}
	}
	for i, id := range ids {
		self := id == peers.Self()
		m := before[id]
		switch up := self && voter || !self && peers.Reachable(id); {
		case up && m == nil:
			m = newMember(b.done, id, self, peers)
			fallthrough
		case up:
			v.up |= one(i)
			delete(before, id)
		default:
			m = &member{id: id, salt: saltOf(id)}
		}
		if self && voter {
			v.self = i
		}
		v.members = append(v.members, m)
	}
	v.copies = min(b.replicas, len(ids))
	v.least = min(v.copies, len(ids)/2+1)
	if v.sees(old) {
		v.since = old.since
	}
	b.view.Store(v)
	if old.over != nil {
		close(old.over)
	}
	b.losses.Add(uint64(len(before)))
	for _, m := range before { // those that are gone
		m.lose()
	}
}

// sees tells whether two views are of the same members, of which the same can be
// reached.
func (v *view) sees(old *view) bool {
	return old.joined && v.up == old.up && v.self == old.self &&
		slices.EqualFunc(v.members, old.members, func(a, b *member) bool { return a.id == b.id })
}

// errGone ends calls to a member that cannot be reached any more.
var errGone = errors.New("it cannot be reached")

func newMember(ctx context.Context, id string, self bool, peers Peers) *member {
	m := &member{id: id, salt: saltOf(id), self: self}
	m.conn = func() (*grpc.ClientConn, error) { return peers.Conn(id) }
	m.alive, m.lose = context.WithCancel(ctx)
	return m
}

// while returns a context for a call to the member: it ends with ctx, and when the
// member cannot be reached any more.
func (m *member) while(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.alive, func() { cancel(errGone) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}
