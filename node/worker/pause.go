package worker

import (
	"context"
	"math/rand/v2"
	"time"
)

// Pauses between tries to reach a server.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 3 * time.Second
)

// pause grows from try to try. Each is drawn from its upper half, so that many
// workers do not come back at the same moment.
type pause struct{ next time.Duration }

func newPause() *pause { return &pause{firstPause} }

func (p *pause) reset() { p.next = firstPause }

func (p *pause) wait(ctx context.Context) {
	d := p.next/2 + rand.N(p.next/2+1)
	p.next = min(2*p.next, lastPause)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
