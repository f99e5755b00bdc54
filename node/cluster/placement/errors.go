package placement

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// explain turns the error of a call to a member into one of store/cas; what a
// status says beyond that is for people, not for whoever asked this node. A
// member that failed in any other way is cas.ErrUnavailable.
func (m *member) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s := status.Convert(err)
	switch s.Code() {
	case codes.NotFound:
		return cas.ErrNotFound
	case codes.Aborted:
		return cas.ErrSuperseded
	case codes.InvalidArgument:
		if strings.HasPrefix(s.Message(), cas.ErrMismatch.Error()) {
			return cas.ErrMismatch
		}
	case codes.ResourceExhausted:
		return m.fullError(s)
	}
	if m.alive.Err() != nil {
		err = errGone
	}
	return fmt.Errorf("%w: member %s: %s", cas.ErrUnavailable, m.id, status.Convert(err).Message())
}

// crowdedFor bounds how long a member that had no room is asked last.
const crowdedFor = 10 * time.Second

// fullError notes that a member had no room.
func (m *member) fullError(s *status.Status) error {
	full := &cas.FullError{Reason: fmt.Sprintf("member %s: %s", m.id, s.Message()), RetryAfter: time.Second}
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			full.RetryAfter = info.GetRetryDelay().AsDuration()
		}
	}
	m.note(full)
	return full
}

// note remembers an error that says that the member had no room.
func (m *member) note(err error) {
	if full := (*cas.FullError)(nil); errors.As(err, &full) {
		m.full.Store(time.Now().Add(min(full.RetryAfter, crowdedFor)).UnixNano())
	}
}

// unreachable says that nothing can be said, because these members do not answer.
func (v *view) unreachable(what string, ids []string) error {
	switch {
	case v.outside():
		return fmt.Errorf("%s: %w: this node is no member of its cluster, or not yet", what, cas.ErrUnavailable)
	case len(ids) == 0:
		return fmt.Errorf("%s: %w", what, cas.ErrUnavailable)
	case len(ids) == 1:
		return fmt.Errorf("%s: %w: member %s cannot be reached", what, cas.ErrUnavailable, ids[0])
	}
	return fmt.Errorf("%s: %w: members %s cannot be reached", what, cas.ErrUnavailable, strings.Join(ids, ", "))
}

// gone is what a blob is that nobody has who was asked.
func (v *view) gone(d digest.Digest, answered mask) error {
	if away := v.away(answered); len(away) > 0 || v.outside() {
		return v.unreachable("read blob "+d.String(), away)
	}
	return cas.ErrNotFound
}
