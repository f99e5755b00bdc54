package worker

import (
	"context"
	"io"

	"google.golang.org/genproto/googleapis/rpc/code"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/runners"
)

var _ runners.Leases = (*link)(nil)

// Next implements runners.Leases.
func (l *link) Next(ctx context.Context) (runners.Event, error) {
	for {
		l.mu.Lock()
		if len(l.events) > 0 {
			e := l.events[0]
			l.events = l.events[1:]
			l.mu.Unlock()
			return e, nil
		}
		closed := l.closed
		l.mu.Unlock()
		if closed {
			return runners.Event{}, io.EOF
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return runners.Event{}, ctx.Err()
		}
	}
}

// Complete implements runners.Leases: it waits until the server has taken the
// completion, or no longer wants it.
func (l *link) Complete(ctx context.Context, c runners.Completion) error {
	l.mu.Lock()
	h := l.held[c.LeaseID]
	if h == nil || h.attempt != c.Attempt {
		l.mu.Unlock()
		return nil
	}
	h.ended = endedLease(h.lease, c)
	if l.answered { // else it says more about the server than about this worker
		l.health.count(c, l.log)
	}
	l.tell()
	l.mu.Unlock()
	select {
	case <-h.acked:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endedLease is what the server is told of a lease that ended.
func endedLease(l *botspb.Lease, c runners.Completion) *botspb.Lease {
	out := &botspb.Lease{Id: l.Id, State: botspb.LeaseState_COMPLETED, Status: c.Status}
	if c.Status == nil {
		out.Status = &statuspb.Status{}
	}
	if c.Result == nil {
		return out
	}
	result, err := anypb.New(c.Result)
	if err != nil { // a name that is not UTF-8, say: so it would be in every attempt
		out.Status = &statuspb.Status{Code: int32(code.Code_INVALID_ARGUMENT), Message: "the result cannot be encoded: " + err.Error()}
		return out
	}
	const most = 3 << 20
	if size := proto.Size(result); size > most {
		out.Status = &statuspb.Status{Code: int32(code.Code_RESOURCE_EXHAUSTED), Message: "the result has too many outputs to be reported"}
		return out
	}
	out.Result = result
	return out
}
