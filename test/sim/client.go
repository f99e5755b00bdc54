package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// client does one thing after the other: it executes actions, and writes and reads
// results of its own, through whichever node it likes.
type client struct {
	w    *world
	name string
	rng  *rand.Rand
	keys []*register
	done []finished
}

// register is an entry of the action cache that this client alone writes.
type register struct {
	action digest.Digest
	tried  int // number of the last result that it tried to write
	sure   int // of the last that it knows to be written, or to have been read
	// unknown are those of which it was not told whether they were written: bytes
	// that wait on a broken network may arrive long after the next was.
	unknown map[int]bool
}

// finished is an operation that was done when the client looked.
type finished struct {
	name string
	job  string
}

func newClient(w *world, i int) *client {
	c := &client{w: w, name: fmt.Sprint("client", i), rng: rand.New(rand.NewPCG(w.o.seed, 200+uint64(i)))}
	for k := range 3 {
		c.keys = append(c.keys, &register{action: digest.Of(digest.SHA256, fmt.Appendf(nil, "key %d of %s", k, c.name))})
	}
	return c
}

// work goes on for as long as faults do, and a little longer.
func (c *client) work(ctx context.Context) {
	until := time.Now().Add(c.w.o.faults + 2*time.Second)
	for ctx.Err() == nil && time.Now().Before(until) {
		switch n := c.rng.IntN(10); {
		case n < 5:
			c.execute(ctx)
		case n < 7:
			c.put(ctx)
		case n < 9:
			c.read(ctx)
		default:
			c.again(ctx)
		}
		_ = sleep(ctx, time.Duration(c.rng.Int64N(int64(500*time.Millisecond))))
	}
}

func (c *client) anyNode() *node { return c.w.nodes[c.rng.IntN(len(c.w.nodes))] }

// insist repeats a call at other nodes until it is answered, in spite of all that
// may be said while the grid changes.
func (c *client) insist(ctx context.Context, what string, do func(context.Context, *node) error) bool {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := do(call, c.anyNode())
		cancel()
		if err == nil {
			return true
		}
		if !passes(err) {
			c.w.fail("%s: %s: %w", c.name, what, err)
			return false
		}
		_ = sleep(ctx, time.Duration(c.rng.Int64N(int64(400*time.Millisecond))))
	}
	return false
}

// passes tells whether an error is one of those that a change of the leader may
// cause.
func passes(err error) bool {
	for _, e := range []error{
		errUnavailable, context.DeadlineExceeded, context.Canceled, sched.ErrStopped, sched.ErrDraining,
		raftfsm.ErrNotProposed, raftfsm.ErrLeadershipLost, raftfsm.ErrNotLeader, raftfsm.ErrStopped,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// execute submits an action, sometimes one that others run, and follows it to its
// end, or cancels it.
func (c *client) execute(ctx context.Context) {
	action := fmt.Sprint("action ", c.rng.IntN(25))
	id := uuid.NewString()
	name := instance + "/" + id
	sub := sched.Submission{
		Instance: instance, Action: c.w.blobs.put(actionBytes(action)), Command: action, Priority: int32(c.rng.IntN(3)),
		Matched: []queue.Property{{Name: "OSFamily", Value: "linux"}}, DoNotCache: c.rng.IntN(4) == 0, Client: c.name, OperationID: id,
	}
	ok := c.insist(ctx, "execute", func(ctx context.Context, via *node) error {
		return c.w.leader(ctx, c.name, via, func(ctx context.Context, _ *life, t *term) error {
			have, joined, err := t.scheduler.Join(ctx, sub)
			if err == nil && !joined {
				have, err = t.scheduler.Submit(ctx, sub)
			}
			if err == nil && have != name {
				return fmt.Errorf("asked for operation %s, got %s", name, have)
			}
			return err
		})
	})
	if !ok {
		return
	}
	c.w.acks.Operation(id)
	c.w.count(&c.w.stats.submitted)
	if c.rng.IntN(12) == 0 {
		_ = sleep(ctx, time.Duration(c.rng.Int64N(int64(2*time.Second))))
		c.cancel(ctx, name)
	}
	c.follow(ctx, name)
}

func actionBytes(name string) []byte { return []byte("action: " + name) }

func (c *client) cancel(ctx context.Context, name string) {
	ok := c.insist(ctx, "cancel", func(ctx context.Context, via *node) error {
		return c.w.leader(ctx, c.name, via, func(ctx context.Context, _ *life, t *term) error { return t.scheduler.Cancel(ctx, name) })
	})
	if ok {
		c.w.count(&c.w.stats.cancelled)
	}
}

// follow watches an operation until it is done, again and again.
func (c *client) follow(ctx context.Context, name string) {
	var state *sched.State
	ok := c.insist(ctx, "follow "+name, func(ctx context.Context, via *node) error {
		return c.w.leader(ctx, c.name, via, func(ctx context.Context, _ *life, t *term) error {
			watch, err := t.scheduler.Watch(ctx, name)
			if err != nil {
				return err
			}
			defer watch.Close()
			for state == nil || !state.Done {
				if state, err = watch.Next(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if ok {
		c.saw(name, state)
		c.done = append(c.done, finished{name, state.Job.ID})
	}
}

// saw notes how an operation ended.
func (c *client) saw(name string, state *sched.State) {
	response, err := proto.MarshalOptions{Deterministic: true}.Marshal(state.Response)
	if err != nil {
		c.w.fail("encode a response: %v", err)
	}
	c.w.count(&c.w.stats.done)
	c.w.acks.Done(name[strings.LastIndexByte(name, '/')+1:], state.Job.ID, response)
}

// again looks at an operation that was done before.
func (c *client) again(ctx context.Context) {
	if len(c.done) == 0 {
		return
	}
	name := c.done[c.rng.IntN(len(c.done))].name
	var state *sched.State
	ok := c.insist(ctx, "get "+name, func(ctx context.Context, via *node) error {
		return c.w.leader(ctx, c.name, via, func(ctx context.Context, _ *life, t *term) (err error) {
			state, err = t.scheduler.Get(ctx, name)
			return err
		})
	})
	if ok && !state.Done {
		c.w.fail("operation %s was done and is not", name)
	} else if ok {
		c.saw(name, state)
	}
}

// put writes the next result of some keys, in one command.
func (c *client) put(ctx context.Context) {
	order := c.rng.Perm(len(c.keys))
	order = order[:1+c.rng.IntN(len(order))]
	c.insist(ctx, "put", func(ctx context.Context, via *node) error {
		var entries []*commandpb.Entry
		results := map[*register][]byte{}
		for _, i := range order {
			k := c.keys[i]
			k.tried++
			result, err := proto.Marshal(&repb.ActionResult{StdoutRaw: fmt.Append(nil, k.tried)})
			if err != nil {
				return err
			}
			results[k] = result
			entries = append(entries, raftfsm.ActionCachePut(&commandpb.ActionCachePut{
				Instance: instance, Action: queue.DigestProto(k.action), Result: &commandpb.ActionCachePut_ActionResult{ActionResult: result},
			}))
		}
		var out raftfsm.Result
		err := c.w.leader(ctx, c.name, via, func(ctx context.Context, _ *life, t *term) (err error) {
			out, err = t.proposer.Propose(ctx, entries...)
			return err
		})
		for k, result := range results {
			if err == nil {
				k.sure = k.tried
				c.w.acks.Result(instance, k.action, out.Index, result)
			}
		}
		return err
	})
	c.w.count(&c.w.stats.puts)
}

// read looks for the result of a key at any node: it must be the last that was
// acknowledged, or one that was tried later.
func (c *client) read(ctx context.Context) {
	k := c.keys[c.rng.IntN(len(c.keys))]
	found := 0
	ok := c.insist(ctx, "read", func(ctx context.Context, via *node) error {
		return c.w.at(ctx, c.name, via, func(ctx context.Context, l *life) error {
			if !c.w.plant.staleReads {
				if err := c.w.readBarrier(ctx, l); err != nil {
					return err
				}
			}
			r, err := l.cache.Get(ctx, instance, k.action)
			if errors.Is(err, actioncache.ErrNotFound) {
				found = 0
				return nil
			}
			if err == nil {
				_, err = fmt.Sscan(string(r.StdoutRaw), &found)
			}
			return err
		})
	})
	if !ok {
		return
	}
	c.w.count(&c.w.stats.reads)
	if found < k.sure || found > k.tried {
		c.w.fail("%s reads result %d of key %s, %d was acknowledged and %d the last that was tried", c.name, found, k.action, k.sure, k.tried)
	}
	k.sure = max(k.sure, found)
}
