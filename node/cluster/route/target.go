package route

import (
	"context"
	"time"

	"google.golang.org/grpc/status"
)

// target is who answers calls, for as long as that stays so.
type target struct {
	id    string          // "": nobody
	local *Services       // when that is this node
	ctx   context.Context //nolint:containedctx // ends with the target
	end   context.CancelFunc
}

func newTarget(id string, local *Services) *target {
	t := &target{id: id, local: local}
	t.ctx, t.end = context.WithCancel(context.Background())
	return t
}

// during returns a context that ends with ctx, and when the target is not the one
// to ask any more.
func (t *target) during(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(t.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// over tells whether another target is to be asked.
func (t *target) over() bool { return t.ctx.Err() != nil }

// lookEvery is how often the leader is looked up beside the cluster's word.
const lookEvery = 250 * time.Millisecond

// watch follows the leader until Close.
func (r *Router) watch() {
	defer close(r.done)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		changed := r.o.Cluster.Changed()
		r.look()
		select {
		case <-changed:
		case <-ticker.C:
		case <-r.stop:
			return
		}
	}
}

// look makes the leader of this moment the target.
func (r *Router) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settle()
}

func (r *Router) setLocal(s *Services) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.local = s
	r.settle()
}

// settle changes the target if it should be another. This node serves while it
// has services, whatever it heard of another leader a moment ago: they are taken
// away when it does not lead. The caller holds mu, so that of two looks the later
// one counts.
func (r *Router) settle() {
	if r.closed {
		return
	}
	var local *Services
	id, ok := r.o.Cluster.Leader()
	switch {
	case r.local != nil:
		id, local = r.o.Cluster.Self(), r.local
	case !ok, id == r.o.Cluster.Self(): // this node will serve soon
		id = ""
	}
	if id != r.target.id || local != r.target.local {
		r.retarget(id, local)
	}
}

func (r *Router) retarget(id string, local *Services) {
	r.target.end()
	r.target = newTarget(id, local)
	switch {
	case id != "":
		r.lost = time.Time{}
		r.log.Debug("calls go to the leader", keyLeader, id)
	case r.lost.IsZero():
		r.lost = time.Now()
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// await returns who answers calls now, or soon.
func (r *Router) await(ctx context.Context) (*target, error) {
	for {
		r.mu.Lock()
		t, changed, lost, closed := r.target, r.changed, r.lost, r.closed
		r.mu.Unlock()
		if closed {
			return nil, unavailable("the node is stopping")
		}
		if t.id != "" {
			return t, nil
		}
		left := r.o.Patience - time.Since(lost)
		if left <= 0 {
			return nil, unavailable("the cluster has no leader that this node can reach")
		}
		timer := time.NewTimer(left)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		timer.Stop()
	}
}
