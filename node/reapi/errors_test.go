package reapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

func TestStatusOf(t *testing.T) {
	for want, errs := range map[codes.Code][]error{
		codes.OK:                 {nil},
		codes.Canceled:           {context.Canceled},
		codes.DeadlineExceeded:   {context.DeadlineExceeded},
		codes.InvalidArgument:    {cas.ErrMismatch, digest.ErrInvalid, actioncache.ErrMalformed, queue.ErrBadPageToken},
		codes.NotFound:           {cas.ErrNotFound, actioncache.ErrNotFound, sched.ErrNotFound, queue.ErrNotFound},
		codes.FailedPrecondition: {sched.ErrNotDone, queue.ErrActive, missingBlobs(nil)},
		codes.ResourceExhausted:  {&cas.FullError{Reason: "x"}, queue.ErrDiskFull},
		codes.Aborted:            {cas.ErrSuperseded},
		codes.Unavailable: {sched.ErrDraining, sched.ErrStopped, raftfsm.ErrNotProposed, raftfsm.ErrStopped, raftfsm.ErrFatal,
			queue.ErrClosed, cas.ErrClosed, actioncache.ErrClosed},
		codes.Internal:      {errors.New("disk"), queue.ErrMalformed, actioncache.ErrInconsistent},
		codes.Unimplemented: {status.Error(codes.Unimplemented, "as it was")},
	} {
		for _, err := range errs {
			if got := status.Code(statusOf(err)); got != want {
				t.Errorf("%v: got %v, want %v", err, got, want)
			}
			if err == nil {
				continue
			}
			wrapped := fmt.Errorf("put blob: %w", err)
			if got := status.Code(statusOf(wrapped)); got != want {
				t.Errorf("%v: got %v, want %v", wrapped, got, want)
			}
		}
	}
}

// detailOf returns the only detail of type M of an error.
func detailOf[M proto.Message](t *testing.T, err error) (m M) {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if m, ok := d.(M); ok {
			return m
		}
	}
	t.Errorf("no %T in %v", m, err)
	return m
}

func TestPassingErrorsSayWhenToComeBack(t *testing.T) {
	full := fmt.Errorf("store blobs: %w", &cas.FullError{Reason: "everything is protected", RetryAfter: 90 * time.Second})
	if got := detailOf[*errdetails.RetryInfo](t, statusOf(full)).GetRetryDelay().AsDuration(); got != 90*time.Second {
		t.Errorf("full: %s", got)
	}
	if got := detailOf[*errdetails.RetryInfo](t, statusOf(sched.ErrDraining)).GetRetryDelay().AsDuration(); got <= 0 {
		t.Errorf("draining: %s", got)
	}
}

func TestInvalidFieldNamesFieldAndRule(t *testing.T) {
	err := invalidField("action.timeout", "is negative")
	v := detailOf[*errdetails.BadRequest](t, err).GetFieldViolations()
	if len(v) != 1 || v[0].GetField() != "action.timeout" || v[0].GetDescription() != "is negative" {
		t.Errorf("got %v", v)
	}
	if got := status.Convert(err).Message(); got != "action.timeout: is negative" {
		t.Errorf("message %q", got)
	}
}

// TestStatusesFitIntoTrailers: several clients take 8 KiB, and fail the call with
// INTERNAL beyond.
func TestStatusesFitIntoTrailers(t *testing.T) {
	long := strings.Repeat("\xffé", 1<<19) // 3 bytes each once it is percent-encoded
	var ds []digest.Digest
	for i := range 5000 {
		ds = append(ds, digest.Of(digest.SHA256, fmt.Append(nil, i)))
	}
	for _, err := range []error{
		statusOf(errors.New(long)), invalidField("f", long), wrongInstance(long), statusOf(&cas.FullError{Reason: long}),
		statusOf(missingBlobs(ds)), statusOf(fmt.Errorf("%w: %s", digest.ErrInvalid, long)),
	} {
		st := status.Convert(err)
		wire, marshalErr := proto.Marshal(st.Proto())
		if n := len(wire)*4/3 + 3*len(st.Message()); marshalErr != nil || n > 7500 || !utf8.ValidString(st.Message()) {
			t.Errorf("%.80s...: %d bytes, %v", err, n, marshalErr)
		}
		if st.Code() == codes.InvalidArgument || st.Code() == codes.FailedPrecondition {
			if len(st.Details()) == 0 && !errors.Is(err, digest.ErrInvalid) && !strings.Contains(st.Message(), "invalid digest") {
				t.Errorf("%.80s...: no details", err)
			}
		}
	}
}
