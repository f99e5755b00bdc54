package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// What a message on the network meets.
var (
	errLost    = errors.New("the connection broke")
	errRefused = errors.New("connection refused")
)

// lossNoticed is how long it takes at most until somebody who waits for a message
// that was lost hears of a broken connection.
const lossNoticed = time.Second

// network carries messages between hosts: nodes, workers and clients, by name.
type network struct {
	mu    sync.Mutex
	rng   *rand.Rand
	cuts  map[link]bool
	slow  map[string]time.Duration // by host: at most so much later
	loss  float64                  // of messages
	peers map[string]*transport    // the nodes that run
}

// link is one direction.
type link struct{ from, to string }

func newNetwork(rng *rand.Rand) *network {
	return &network{rng: rng, cuts: map[link]bool{}, slow: map[string]time.Duration{}, peers: map[string]*transport{}}
}

// leg carries one message; it returns when that has arrived, or was lost and the
// sender noticed.
func (n *network) leg(ctx context.Context, from, to string) error {
	delay, lost := n.fate(link{from, to})
	if err := sleep(ctx, delay); err != nil {
		return err
	}
	if lost {
		return errLost
	}
	return nil
}

// fate draws what becomes of a message.
func (n *network) fate(l link) (delay time.Duration, lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cuts[l] || n.loss > 0 && n.rng.Float64() < n.loss {
		return lossNoticed/4 + time.Duration(n.rng.Int64N(int64(lossNoticed*3/4))), true
	}
	return n.delayLocked(l), false
}

// latency draws how long bytes are on their way that do not get lost.
func (n *network) latency(l link) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.delayLocked(l)
}

func (n *network) delayLocked(l link) time.Duration {
	delay := 50*time.Microsecond + time.Duration(n.rng.Int64N(int64(time.Millisecond)))
	if slow := n.slow[l.from] + n.slow[l.to]; slow > 0 {
		delay += time.Duration(n.rng.Int64N(int64(slow)))
	}
	return delay
}

// cut breaks the links, or mends them.
func (n *network) cut(broken bool, links ...link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range links {
		if broken {
			n.cuts[l] = true
		} else {
			delete(n.cuts, l)
		}
	}
}

func (n *network) isCut(l link) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cuts[l]
}

// slowDown makes all messages from and to a host later by up to so much.
func (n *network) slowDown(host string, by time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slow[host] = by
}

// lose makes a part of all messages get lost.
func (n *network) lose(part float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = part
}

// heal mends everything.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
	clear(n.slow)
	n.loss = 0
}

func (n *network) attach(host string, t *transport) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers[host] = t
}

func (n *network) detach(host string, t *transport) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.peers[host] == t {
		delete(n.peers, host)
	}
}

func (n *network) peer(host string) *transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peers[host]
}

// both returns the two directions between hosts.
func both(a, b string) []link { return []link{{a, b}, {b, a}} }

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
