package runners

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// Failure is an error whose code the client shall see: what is wrong with the
// action, not with this worker.
type Failure struct {
	Code code.Code
	Text string
}

func (f *Failure) Error() string { return f.Text }

// Invalid says that the action is malformed: INVALID_ARGUMENT.
func Invalid(format string, args ...any) error {
	return &Failure{Code: code.Code_INVALID_ARGUMENT, Text: fmt.Sprintf(format, args...)}
}

// Unfit says that the action is well-formed and cannot be run here like this:
// FAILED_PRECONDITION.
func Unfit(format string, args ...any) error {
	return &Failure{Code: code.Code_FAILED_PRECONDITION, Text: fmt.Sprintf(format, args...)}
}

// exhausted says that the action used more than it may: RESOURCE_EXHAUSTED.
func exhausted(format string, args ...any) error {
	return &Failure{Code: code.Code_RESOURCE_EXHAUSTED, Text: fmt.Sprintf(format, args...)}
}

// statusOf chooses the status of a lease that ended with err: *MissingError is
// FAILED_PRECONDITION with a violation for each blob (REAPI, Execution.Execute),
// a *Failure has its own code, a cancellation is CANCELLED, and whatever else
// happened is this worker's trouble: UNAVAILABLE, so that another attempt is made.
func statusOf(err error) *statuspb.Status {
	var missing *MissingError
	var failure *Failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &missing) && len(missing.Digests) > 0:
		return missingStatus(missing)
	case errors.As(err, &failure):
		return &statuspb.Status{Code: int32(failure.Code), Message: err.Error()}
	case errors.Is(err, context.Canceled):
		return &statuspb.Status{Code: int32(code.Code_CANCELLED), Message: "the action was cancelled"}
	}
	return &statuspb.Status{Code: int32(code.Code_UNAVAILABLE), Message: err.Error()}
}

// maxViolations bounds the blobs that one status names.
const maxViolations = 1000

func missingStatus(e *MissingError) *statuspb.Status {
	failure := &errdetails.PreconditionFailure{}
	for _, d := range e.Digests[:min(len(e.Digests), maxViolations)] {
		failure.Violations = append(failure.Violations, &errdetails.PreconditionFailure_Violation{
			Type:    "MISSING",
			Subject: "blobs/" + d.String(),
		})
	}
	s := &statuspb.Status{
		Code:    int32(code.Code_FAILED_PRECONDITION),
		Message: fmt.Sprintf("%d blobs that the action needs are missing, such as %s", len(e.Digests), e.Digests[0]),
	}
	if detail, err := anypb.New(failure); err == nil {
		s.Details = append(s.Details, detail)
	}
	return s
}
