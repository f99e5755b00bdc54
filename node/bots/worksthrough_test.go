package bots

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
)

// plainBot is a worker that knows no more than the page on BuildGrid's Bots: it
// keeps one message, has a thread for each lease, and tells what is new with the
// next call. Some of its calls break.
type plainBot struct {
	g       *grid
	message *botspb.BotSession
	random  *rand.Rand

	mu   sync.Mutex
	ran  map[string]int // executions, by lease
	done map[string]bool
	call context.CancelFunc // ends the call under way
}

func (p *plainBot) work(ctx context.Context) error {
	for ctx.Err() == nil {
		p.report()
		reply, err := p.talk(ctx)
		switch status.Code(err) {
		case codes.OK:
			p.take(reply)
		case codes.InvalidArgument:
			return err
		}
	}
	return nil
}

// talk makes one call. When a lease ends, it ends too; now and then its reply is
// lost.
func (p *plainBot) talk(ctx context.Context) (*botspb.BotSession, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	p.mu.Lock()
	p.call = cancel
	for _, l := range p.message.Leases {
		if p.done[l.Id] && l.State == botspb.LeaseState_ACTIVE { // ended since report
			cancel()
		}
	}
	p.mu.Unlock()
	var reply *botspb.BotSession
	var err error
	if p.message.Name == "" {
		reply, err = p.g.client.CreateBotSession(ctx, &botspb.CreateBotSessionRequest{Parent: instance, BotSession: p.message})
	} else {
		reply, err = p.g.client.UpdateBotSession(ctx, &botspb.UpdateBotSessionRequest{Name: p.message.Name, BotSession: p.message})
	}
	if err == nil && p.message.Name != "" && p.random.IntN(20) == 0 {
		return nil, status.Error(codes.Unavailable, "lost")
	}
	return reply, err
}

func (p *plainBot) report() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, l := range p.message.Leases {
		if p.done[l.Id] && l.State == botspb.LeaseState_ACTIVE {
			p.message.Leases[i] = done(p.message, i).Leases[i]
		}
	}
}

func (p *plainBot) take(reply *botspb.BotSession) {
	p.mu.Lock()
	defer p.mu.Unlock()
	have := map[string]bool{}
	for _, l := range p.message.Leases {
		have[l.Id] = true
	}
	p.message = proto.CloneOf(reply)
	for _, l := range reply.Leases {
		if have[l.Id] {
			continue
		}
		go func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.ran[l.Id]++
			p.done[l.Id] = true
			p.call()
		}()
	}
}

// TestAPlainBotWorksThroughAllLeases also runs in the long loops, with more.
func TestAPlainBotWorksThroughAllLeases(t *testing.T) {
	jobs := 2000
	if n, err := strconv.Atoi(os.Getenv("BOT_LEASES")); err == nil {
		jobs = n
	}
	g := newGrid(t)
	ctx, cancel := context.WithCancel(t.Context())
	var bots []*plainBot
	var working sync.WaitGroup
	for i := range 3 {
		p := &plainBot{
			g: g, message: bot(fmt.Sprint("plain-", i), 1+4*i), random: rand.New(rand.NewPCG(1, uint64(i))),
			ran: map[string]int{}, done: map[string]bool{}, call: func() {},
		}
		bots = append(bots, p)
		working.Go(func() {
			if err := p.work(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	var submitting sync.WaitGroup
	for part := range 10 {
		submitting.Go(func() {
			for i := part; i < jobs; i += 10 {
				op := g.submit(fmt.Sprint(i))
				w, err := g.scheduler.Watch(ctx, op)
				for err == nil {
					st, next := w.Next(ctx)
					if err = next; err == nil && st.Done {
						if st.Job.Attempt != 1 || string(st.Response.GetResult().GetStdoutRaw()) != "ran" {
							t.Errorf("attempt %d ended with %v", st.Job.Attempt, st.Response)
						}
						w.Close()
						break
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	submitting.Wait()
	cancel()
	working.Wait()
	executions := 0
	for _, p := range bots {
		for lease, n := range p.ran {
			if executions += n; n != 1 {
				t.Errorf("lease %s ran %d times", lease, n)
			}
		}
	}
	if executions != jobs {
		t.Errorf("%d executions of %d jobs", executions, jobs)
	}
}
