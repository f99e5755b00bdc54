package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What callers tell apart.
var (
	// ErrUnreachable is wrapped when no server answers at the address.
	ErrUnreachable = errors.New("no server answers")
	// ErrInstance is wrapped when the server does not know the Client's instance.
	ErrInstance = errors.New("no such instance")
	// ErrNotFound is wrapped when the server lacks a blob or an operation.
	ErrNotFound = errors.New("not found")
	// ErrCorrupt is wrapped when the server sent content that is not the digest's.
	ErrCorrupt = errors.New("content does not match its digest")
	// ErrChanged is wrapped when a local file changed between being hashed and being sent.
	ErrChanged = errors.New("file changed while it was uploaded")
	// ErrNotCancelled is wrapped when Run was given up and its operation may go on.
	ErrNotCancelled = errors.New("the operation could not be cancelled")
	// ErrMalformed is wrapped when a blob is not the Directory or Tree that it is
	// named as, or one that must not be laid out on a disk.
	ErrMalformed = errors.New("malformed tree")
)

// isAway tells whether err may pass when the server comes back or has less to do.
func isAway(err error) bool {
	s, ok := status.FromError(err)
	if !ok {
		return false
	}
	switch s.Code() {
	case codes.Unavailable, codes.Aborted:
		return true
	case codes.Internal, codes.Unknown:
		return strings.Contains(s.Message(), "RST_STREAM") // a proxy gave the stream up
	}
	return false
}

// explain wraps err, of doing what, as one line for people: with the server's
// details, and naming the address when nothing answers there. Context errors
// stay what they are, and so does what is explained already.
func (c *Client) explain(what string, err error) error {
	var explained *remoteError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &explained), errors.Is(err, ErrUnreachable):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", what, err)
	}
	s, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	switch s.Code() {
	case codes.Canceled:
		return fmt.Errorf("%s: %w", what, context.Canceled)
	case codes.NotFound:
		return fmt.Errorf("%s: %w", what, &remoteError{status: s, is: ErrNotFound})
	case codes.Unavailable:
		if !c.answered.Load() && isTransport(s.Message()) {
			return fmt.Errorf("%w at %s: %s", ErrUnreachable, c.server, transportReason(s.Message()))
		}
	}
	return fmt.Errorf("%s: %w", what, &remoteError{status: s})
}

// remoteError is a server's refusal with its details spelled out.
type remoteError struct {
	status *status.Status
	is     error
}

func (e *remoteError) Error() string { return Describe(e.status) }

func (e *remoteError) Is(target error) bool { return e.is != nil && target == e.is }

// GRPCStatus lets status.Code and status.FromError see through the wrapping.
func (e *remoteError) GRPCStatus() *status.Status { return e.status }

// Describe spells a status out on one line: the code, the message, and the
// details that the Remote Execution API defines.
func Describe(s *status.Status) string {
	var b strings.Builder
	b.WriteString(s.Code().String())
	if s.Message() != "" {
		b.WriteString(": " + strings.Join(strings.Fields(s.Message()), " "))
	}
	for _, detail := range s.Details() {
		for _, line := range describeDetail(detail, s.Message()) {
			b.WriteString("; " + line)
		}
	}
	return b.String()
}

// mostViolations bounds how many of a detail's violations are spelled out.
const mostViolations = 5

// describeDetail leaves out what the message says already.
func describeDetail(detail any, message string) (lines []string) {
	more := 0
	add := func(line string) {
		if len(lines) == mostViolations {
			more++
			return
		}
		lines = append(lines, line)
	}
	switch d := detail.(type) {
	case *errdetails.PreconditionFailure:
		for _, v := range d.Violations {
			add(strings.TrimSpace(strings.ToLower(v.Type) + " " + v.Subject))
		}
	case *errdetails.BadRequest:
		for _, v := range d.FieldViolations {
			if strings.Contains(message, v.Description) {
				continue
			}
			add(v.Field + ": " + v.Description)
		}
	case *errdetails.RetryInfo:
		add("try again in " + d.RetryDelay.AsDuration().Round(time.Second).String())
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// isTransport tells grpc-go's own errors about a connection from a server's.
func isTransport(message string) bool {
	for _, part := range []string{"connection error", "while dialing", "resolver"} {
		if strings.Contains(message, part) {
			return true
		}
	}
	return false
}

// transportReason takes the useful end of grpc-go's dial errors.
func transportReason(message string) string {
	if i := strings.LastIndex(message, "connect: "); i >= 0 {
		message = message[i+len("connect: "):]
	} else if i := strings.LastIndex(message, "desc = "); i >= 0 {
		message = message[i+len("desc = "):]
	}
	return strings.Trim(strings.Join(strings.Fields(message), " "), `"`)
}
