package sim

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// pipeline sends entries to a node one after the other, without waiting for its
// answers in between. Delays overlap, the order stays; it ends with the first
// message that is lost, as a connection does.
type pipeline struct {
	t      *transport
	to     string
	sent   chan *inFlight
	taken  chan *inFlight
	done   chan raft.AppendFuture
	closed chan struct{}
	once   sync.Once
}

// AppendEntriesPipeline implements raft.Transport.
func (t *transport) AppendEntriesPipeline(_ raft.ServerID, to raft.ServerAddress) (raft.AppendPipeline, error) {
	p := &pipeline{
		t: t, to: string(to), closed: make(chan struct{}),
		sent: make(chan *inFlight, 128), taken: make(chan *inFlight, 128), done: make(chan raft.AppendFuture, 128),
	}
	go p.deliver()
	go p.collect()
	return p, nil
}

// AppendEntries implements raft.AppendPipeline, as do the following.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	delay, lost := p.t.net.fate(link{p.t.host, p.to})
	now := time.Now()
	f := &inFlight{
		begun: now, arrives: now.Add(delay), lost: lost, args: args, resp: resp,
		answers: make(chan raft.RPCResponse, 1), ready: make(chan struct{}),
	}
	select {
	case <-p.closed:
		return nil, raft.ErrPipelineShutdown
	default:
	}
	select {
	case p.sent <- f:
		return f, nil
	case <-p.closed:
		return nil, raft.ErrPipelineShutdown
	}
}

func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.done }

func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// deliver hands what was sent to the node, in order.
func (p *pipeline) deliver() {
	broken := false
	for {
		select {
		case f := <-p.sent:
			time.Sleep(time.Until(f.arrives))
			broken = broken || f.lost || !p.hand(f)
			f.lost = broken
			select {
			case p.taken <- f:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}

// hand gives a message to the node; false when it is not there.
func (p *pipeline) hand(f *inFlight) bool {
	peer := p.t.net.peer(p.to)
	if peer == nil {
		return false
	}
	select {
	case peer.consumer <- raft.RPC{Command: f.args, RespChan: f.answers}:
		return true
	case <-peer.closed:
	case <-p.closed:
	}
	return false
}

// collect brings the answers back, in order.
func (p *pipeline) collect() {
	var broken error
	for {
		select {
		case f := <-p.taken:
			if broken == nil {
				broken = p.answer(f)
			}
			f.err = broken
			close(f.ready)
			select {
			case p.done <- f:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}

func (p *pipeline) answer(f *inFlight) error {
	if f.lost {
		return errLost
	}
	ctx, cancel := context.WithTimeout(context.Background(), rpcTimeout)
	defer cancel()
	select {
	case answer := <-f.answers:
		if err := p.t.net.leg(ctx, p.to, p.t.host); err != nil {
			return err
		}
		if answer.Error != nil {
			return answer.Error
		}
		*f.resp = *answer.Response.(*raft.AppendEntriesResponse)
		return nil
	case <-ctx.Done():
		return errLost
	case <-p.closed:
		return raft.ErrPipelineShutdown
	}
}

// inFlight is a raft.AppendFuture.
type inFlight struct {
	begun, arrives time.Time
	lost           bool
	args           *raft.AppendEntriesRequest
	resp           *raft.AppendEntriesResponse
	answers        chan raft.RPCResponse
	ready          chan struct{}
	err            error
}

// Error implements raft.AppendFuture, as do the following.
func (f *inFlight) Error() error {
	<-f.ready
	return f.err
}

func (f *inFlight) Start() time.Time { return f.begun }

func (f *inFlight) Request() *raft.AppendEntriesRequest { return f.args }

func (f *inFlight) Response() *raft.AppendEntriesResponse { return f.resp }
