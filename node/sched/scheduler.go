package sched

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm/commandpb"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Scheduler is the scheduler of one node. Its methods may be called from any
// goroutine, after Start.
type Scheduler struct {
	o        Options
	log      *slog.Logger
	finished *finished // has its own lock, a leaf
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup // of all goroutines and timers that the scheduler started

	// mu guards everything below, and the fields of jobs, operations, classes and
	// sessions. It is held for map look-ups and list moves only: never while
	// proposing, reading a store or encoding.
	mu         sync.Mutex
	started    bool
	draining   bool
	stopped    bool
	jobs       map[string]*job        // the unfinished ones
	ops        map[string]*operation  // of unfinished jobs, not yet done themselves
	sessions   map[string]*Session    // the open ones
	bots       map[botKey]*Session    // the same, by bot
	offers     map[queue.Property]int // how many open sessions offer it
	classes    map[string]*class
	classLimit int // above it, idle classes are forgotten
	inflight   map[mergeKey]*job
	submitting flights[mergeKey]
	opening    flights[botKey]
	entering   map[botKey]entrance // what a bot that opens a session says beside what is stored
	holds      map[string]*hold    // by job: slots promised between propose and commit
	ledger     ledger
	seq        uint64
	needy      int        // waiting jobs that need more than a slot
	unkept     []*Session // to be fed before mu is free
	outbox     []errand   // to be proposed as soon as mu is free
	stall      error      // why the log takes no commands; dispatch pauses until it may
	parked     []*job     // to give up once it does
	observed   chan struct{}
	watching   int // open watches
	refreshing bool
	grace      *time.Timer     // when the next job has waited long enough for a worker; nil: none does
	settling   []*Session      // opened by the group that is being observed
	drained    map[botKey]bool // workers that an operator takes out of service
	recent     recent
	total      Totals
}

// mergeKey names actions that may share a job.
type mergeKey struct {
	instance string
	action   digest.Digest
}

// botKey names a bot: its id is unique in its instance.
type botKey struct{ instance, botID string }

// New returns a scheduler that does nothing before Start.
func New(o Options) (*Scheduler, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Scheduler{
		o:          o,
		log:        o.Logger,
		finished:   newFinished(o.FinishedTTL, o.FinishedMost),
		ctx:        ctx,
		cancel:     cancel,
		jobs:       map[string]*job{},
		ops:        map[string]*operation{},
		sessions:   map[string]*Session{},
		bots:       map[botKey]*Session{},
		offers:     map[queue.Property]int{},
		classes:    map[string]*class{},
		classLimit: idleClasses,
		inflight:   map[mergeKey]*job{},
		submitting: flights[mergeKey]{},
		opening:    flights[botKey]{},
		entering:   map[botKey]entrance{},
		holds:      map[string]*hold{},
		ledger:     ledger{accounts: map[string]*account{}},
		drained:    map[botKey]bool{},
	}, nil
}

// propose commits entries. The caller's end does not end it: a command that
// carries a promise must be waited for, or the promise would stay open.
func (s *Scheduler) propose(ctx context.Context, entries ...*commandpb.Entry) ([]error, error) {
	r, err := s.o.Proposer.Propose(context.WithoutCancel(ctx), entries...)
	if err != nil {
		return nil, err
	}
	return r.Errors, nil
}

// proposeOne is propose for a single entry; refused is why Apply refused it.
func (s *Scheduler) proposeOne(ctx context.Context, e *commandpb.Entry) (refused, err error) {
	errs, err := s.propose(ctx, e)
	if err != nil {
		return nil, err
	}
	return errs[0], nil
}

// unlock releases mu, after it gave away what is not kept any longer and sent off what was put into the outbox meanwhile.
func (s *Scheduler) unlock() {
	for len(s.unkept) > 0 {
		ses := s.unkept[0]
		s.unkept = s.unkept[1:]
		s.feed(ses)
	}
	if len(s.outbox) > 0 && !s.stopped {
		batch := s.outbox
		s.outbox = nil
		s.goLocked(func() { s.send(batch) })
	}
	s.mu.Unlock()
}

// goLocked starts a goroutine that Stop waits for, unless Stop was called.
func (s *Scheduler) goLocked(f func()) {
	if s.stopped {
		return
	}
	s.wg.Go(f)
}

// flights are things under way that others may have to wait for.
type flights[K comparable] map[K]chan struct{}

// land ends k and wakes who waits for it.
func (f flights[K]) land(k K) {
	if c, ok := f[k]; ok {
		close(c)
		delete(f, k)
	}
}
