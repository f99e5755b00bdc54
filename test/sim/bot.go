package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
)

// bot is a worker: it keeps one message, runs what that has, keeps each result
// until a reply says that it was taken, and calls whichever node answers.
type bot struct {
	w    *world
	name string
	rng  *rand.Rand
	via  *node // that it calls

	mu       sync.Mutex
	message  *botspb.BotSession
	running  map[string]*execution // by lease
	results  map[string]*botspb.Lease
	call     context.CancelFunc // ends the call under way
	answered time.Time          // when a call was last answered
	away     []span
	deaths   []time.Time
}

type span struct{ from, to time.Time }

func newBot(w *world, i int) *bot {
	b := &bot{w: w, name: fmt.Sprint("bot", i), rng: rand.New(rand.NewPCG(w.o.seed, 100+uint64(i))), call: func() {}, answered: time.Now()}
	b.begin(1 + i%3)
	return b
}

// begin is a worker without a past.
func (b *bot) begin(capacity int) {
	b.running, b.results = map[string]*execution{}, map[string]*botspb.Lease{}
	b.message = &botspb.BotSession{
		BotId: b.name, Status: botspb.BotStatus_OK,
		Worker: &botspb.Worker{
			Devices: []*botspb.Device{{Properties: []*botspb.Device_Property{{Key: "OSFamily", Value: "linux"}}}},
			Configs: []*botspb.Worker_Config{{Key: "capacity", Value: strconv.Itoa(capacity)}},
		},
	}
}

func (b *bot) work(ctx context.Context) {
	b.via = b.w.nodes[b.rng.IntN(len(b.w.nodes))]
	for ctx.Err() == nil {
		if b.rng.IntN(150) == 0 {
			b.die(ctx)
		}
		reply, err := b.talk(ctx)
		switch {
		case err == nil:
			b.take(ctx, reply)
		case ctx.Err() != nil:
		case status.Code(err) == codes.InvalidArgument:
			b.mu.Lock()
			b.message.Name, b.message.Version = "", ""
			b.mu.Unlock()
		case errors.Is(err, context.Canceled): // there is something to tell
		default:
			if b.w.plant.loseResults {
				b.forget()
			}
			b.via = b.w.nodes[b.rng.IntN(len(b.w.nodes))]
			_ = sleep(ctx, time.Duration(b.rng.Int64N(int64(300*time.Millisecond))))
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.running {
		b.w.runs.mark(x, false, true)
	}
	clear(b.running)
}

// talk makes one call. When an execution ends, it ends too.
func (b *bot) talk(ctx context.Context) (reply *botspb.BotSession, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second+time.Duration(b.rng.Int64N(int64(4*time.Second))))
	defer cancel()
	message := b.report(cancel)
	err = b.w.leader(ctx, b.name, b.via, func(ctx context.Context, _ *life, t *term) (err error) {
		if message.Name == "" {
			reply, err = t.bots.CreateBotSession(ctx, &botspb.CreateBotSessionRequest{Parent: instance, BotSession: message})
		} else {
			reply, err = t.bots.UpdateBotSession(ctx, &botspb.UpdateBotSessionRequest{Name: message.Name, BotSession: message})
		}
		return err
	})
	return reply, err
}

// report returns what the bot has to say, as a message of its own.
func (b *bot) report(call context.CancelFunc) *botspb.BotSession {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.call = call
	for i, l := range b.message.Leases {
		if done := b.results[l.Id]; done != nil {
			b.message.Leases[i] = done
		}
	}
	return proto.CloneOf(b.message)
}

// take does what a reply says: leases that are new begin, those that it lacks are
// over.
func (b *bot) take(ctx context.Context, reply *botspb.BotSession) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if gap := now.Sub(b.answered); gap > expiry-slack {
		b.away = append(b.away, span{b.answered, now})
	}
	b.answered = now
	b.message = proto.CloneOf(reply)
	listed := map[string]bool{}
	for _, l := range reply.Leases {
		listed[l.Id] = true
		if x := b.running[l.Id]; x != nil && x.attempt != attemptOf(l) {
			b.w.runs.mark(x, false, true)
			delete(b.running, l.Id)
			delete(b.results, l.Id)
		}
		if b.running[l.Id] == nil {
			b.run(ctx, l)
		}
	}
	for id, x := range b.running {
		if !listed[id] {
			b.w.runs.mark(x, false, b.results[id] == nil)
			delete(b.running, id)
			delete(b.results, id)
		}
	}
}

// run executes a lease.
func (b *bot) run(ctx context.Context, l *botspb.Lease) {
	job := l.Id[strings.LastIndexByte(l.Id, '/')+1:]
	x := b.w.runs.begin(b, job, attemptOf(l))
	b.running[l.Id] = x
	took := 50*time.Millisecond + time.Duration(b.rng.ExpFloat64()*float64(2*time.Second))
	fails := b.rng.IntN(20) == 0
	go func() {
		if sleep(ctx, took) != nil {
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.running[l.Id] != x { // killed
			return
		}
		b.results[l.Id] = b.result(l, x, fails)
		b.call()
	}()
}

// result is a lease as it is reported when it is over. The caller holds mu.
func (b *bot) result(l *botspb.Lease, x *execution, fails bool) *botspb.Lease {
	done := proto.CloneOf(l)
	done.State = botspb.LeaseState_COMPLETED
	if fails {
		b.w.runs.mark(x, true, false)
		done.Status = &statuspb.Status{Code: int32(code.Code_UNAVAILABLE), Message: "out of luck"}
		return done
	}
	done.Status = &statuspb.Status{}
	result, err := anypb.New(&repb.ActionResult{StdoutRaw: []byte(resultText(x.job, x.attempt, b.name))})
	if err != nil {
		b.w.fail("encode a result: %v", err)
	}
	done.Result = result
	return done
}

// forget is what a worker must not do.
func (b *bot) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	leases := b.message.Leases[:0]
	for _, l := range b.message.Leases {
		if b.results[l.Id] == nil {
			leases = append(leases, l)
			continue
		}
		delete(b.running, l.Id)
		delete(b.results, l.Id)
	}
	b.message.Leases = leases
}

// die kills the worker with all that it runs. It comes back with no memory.
func (b *bot) die(ctx context.Context) {
	b.mu.Lock()
	b.deaths = append(b.deaths, time.Now())
	for _, x := range b.running {
		b.w.runs.mark(x, false, true)
	}
	b.begin(len(b.running)%3 + 1)
	b.mu.Unlock()
	_ = sleep(ctx, time.Duration(b.rng.Int64N(int64(4*time.Second))))
}

func (b *bot) diedBetween(from, to time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, at := range b.deaths {
		if !at.Before(from) && !at.After(to) {
			return true
		}
	}
	return false
}

// awayBetween tells whether the worker was silent for the expiry at some time.
func (b *bot) awayBetween(from, to time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range append(b.away, span{b.answered, time.Now()}) {
		if s.to.Sub(s.from) >= expiry-slack && s.from.Before(to) && s.to.After(from) {
			return true
		}
	}
	return false
}

// attemptOf is what the lease says of itself.
func attemptOf(l *botspb.Lease) string {
	for _, c := range l.GetRequirements().GetConfigs() {
		if c.Key == "attempt" {
			return c.Value
		}
	}
	return ""
}

// resultText is the output of an execution: each has another.
func resultText(job, attempt, bot string) string { return job + " " + attempt + " " + bot }

func itoa(n int32) string { return strconv.Itoa(int(n)) }
