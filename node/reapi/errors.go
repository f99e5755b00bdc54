package reapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bgrid-node/bgrid-node/node/logstream"
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/raftfsm"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/digest"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// comeBack is the RetryInfo of errors that pass when the node, or another one,
// serves again.
const comeBack = time.Second

// codeRow says which code the errors of one kind get.
type codeRow struct {
	err  error
	code codes.Code
}

// codeTable is the one place where errors of the layers below become gRPC codes;
// the first row that matches holds. DESIGN.md has it for people.
func codeTable() []codeRow {
	return []codeRow{
		{context.Canceled, codes.Canceled},
		{context.DeadlineExceeded, codes.DeadlineExceeded},

		{cas.ErrMismatch, codes.InvalidArgument},
		{digest.ErrInvalid, codes.InvalidArgument},
		{actioncache.ErrMalformed, codes.InvalidArgument},
		{queue.ErrBadPageToken, codes.InvalidArgument},

		{logstream.ErrName, codes.InvalidArgument},
		{logstream.ErrReadName, codes.InvalidArgument},
		{logstream.ErrWriteName, codes.InvalidArgument},

		{logstream.ErrNotFound, codes.NotFound},
		{cas.ErrNotFound, codes.NotFound},
		{actioncache.ErrNotFound, codes.NotFound},
		{sched.ErrNotFound, codes.NotFound},
		{queue.ErrNotFound, codes.NotFound},

		{sched.ErrNotDone, codes.FailedPrecondition},
		{queue.ErrActive, codes.FailedPrecondition},

		{logstream.ErrFinished, codes.FailedPrecondition},
		{logstream.ErrRange, codes.OutOfRange},
		{logstream.ErrFull, codes.ResourceExhausted},

		{cas.ErrSuperseded, codes.Aborted},

		{sched.ErrDraining, codes.Unavailable},
		{sched.ErrStopped, codes.Unavailable},
		{raftfsm.ErrNotProposed, codes.Unavailable},
		{raftfsm.ErrStopped, codes.Unavailable},
		{raftfsm.ErrNotLeader, codes.Unavailable},
		{raftfsm.ErrLeadershipLost, codes.Unavailable},
		{raftfsm.ErrUnavailable, codes.Unavailable},
		{raftfsm.ErrFatal, codes.Unavailable}, // the node's trouble, not the request's: another try may meet a healthy one
		{queue.ErrDiskFull, codes.ResourceExhausted},
		{queue.ErrClosed, codes.Unavailable},
		{cas.ErrClosed, codes.Unavailable},
		{cas.ErrUnavailable, codes.Unavailable},
		{actioncache.ErrClosed, codes.Unavailable},
	}
}

// statusOf turns an error into what goes to the client: nil and errors that carry
// a gRPC status already stay as they are; those of the layers below get their
// code from codeTable; what is left is INTERNAL. A full store is
// RESOURCE_EXHAUSTED, and this and UNAVAILABLE say with RetryInfo when to come
// back.
func statusOf(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	if full := (*cas.FullError)(nil); errors.As(err, &full) {
		return retryable(codes.ResourceExhausted, full.Error(), full.RetryAfter)
	}
	for _, row := range codeTable() {
		if !errors.Is(err, row.err) {
			continue
		}
		if row.code == codes.Unavailable || row.code == codes.ResourceExhausted {
			return retryable(row.code, err.Error(), comeBack)
		}
		return status.Error(row.code, bounded(err.Error()))
	}
	return status.Error(codes.Internal, bounded(err.Error()))
}

func retryable(code codes.Code, message string, after time.Duration) error {
	return detailed(code, message, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
}

// invalidField refuses what a client sent: INVALID_ARGUMENT with the field, as
// the protobuf has it, and the rule that it breaks, both in the message and as a
// BadRequest detail.
func invalidField(field, rule string) error {
	rule = bounded(rule)
	return detailed(codes.InvalidArgument, field+": "+rule, &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: rule}},
	})
}

// timeoutTooLarge is worded as in BuildGrid.
func timeoutTooLarge() error {
	const rule = "Action timeout is larger than the server's maximum execution timeout."
	return detailed(codes.InvalidArgument, rule, &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "action.timeout", Description: rule}},
	})
}

func detailed(code codes.Code, message string, details ...protoadapt.MessageV1) error {
	st := status.New(code, bounded(message))
	if with, err := st.WithDetails(details...); err == nil {
		st = with
	}
	return st.Err()
}

// maxTrailerViolations is how many violations go into the status of a call: it
// travels in HTTP/2 trailers, of which several clients take 8 KiB.
const maxTrailerViolations = 40

// missingError is FAILED_PRECONDITION with a MISSING violation for each blob
// (REAPI, Execute). As the status of a call it names the first
// maxTrailerViolations only; see refuse for what is done with more.
type missingError struct{ digests []digest.Digest }

// missingBlobs says that blobs which a request needs are not in the store.
func missingBlobs(ds []digest.Digest) error { return &missingError{ds} }

func (e *missingError) Error() string {
	if len(e.digests) == 1 {
		return fmt.Sprintf("blob %s is missing from the content-addressable storage", e.digests[0])
	}
	return fmt.Sprintf("%d blobs are missing from the content-addressable storage", len(e.digests))
}

// GRPCStatus is what grpc-go sends for the error.
func (e *missingError) GRPCStatus() *status.Status { return e.status(maxTrailerViolations) }

// status names at most so many of the blobs.
func (e *missingError) status(most int) *status.Status {
	f := &errdetails.PreconditionFailure{}
	for _, d := range e.digests[:min(most, len(e.digests))] {
		f.Violations = append(f.Violations, &errdetails.PreconditionFailure_Violation{Type: "MISSING", Subject: "blobs/" + d.String()})
	}
	return status.Convert(detailed(codes.FailedPrecondition, e.Error(), f))
}

// maxMessage bounds in bytes the message of a status, for the sake of trailers.
const maxMessage = 1 << 10

// bounded makes a string fit to travel in a status: it is cut, and whatever is
// not UTF-8 replaced.
func bounded(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage] + "..."
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}
