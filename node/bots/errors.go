package bots

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// invalid refuses what a bot sent: the field, as the protobuf has it, and the
// rule that it breaks.
func invalid(field, rule string) error {
	return withField(field, rule, field+": "+rule)
}

// invalidPlain is invalid with a message that BuildGrid has fixed.
func invalidPlain(field, message string) error { return withField(field, message, message) }

func withField(field, rule, message string) error {
	st := status.New(codes.InvalidArgument, bounded(message))
	with, err := st.WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: bounded(rule)}},
	})
	if err != nil {
		return st.Err()
	}
	return with.Err()
}

func refused(code codes.Code, message string) error { return status.Error(code, bounded(message)) }

// checkInstance is worded as in BuildGrid.
func (s *service) checkInstance(name string) error {
	if name == s.o.Instance || (name == "" && s.o.EmptyInstance) {
		return nil
	}
	return invalidPlain("parent", fmt.Sprintf("Invalid instance name: [%s]", short(name)))
}

// sessionID takes the session's id out of its name, {instance}/{uuid}.
func (s *service) sessionID(name string) (string, error) {
	at := strings.LastIndexByte(name, '/')
	if err := s.checkInstance(name[:max(at, 0)]); err != nil {
		return "", err
	}
	return name[at+1:], nil
}

func unknownSession(name string) error {
	return invalidPlain("name", fmt.Sprintf("Bot session %s is not open: create a new one", short(name)))
}

// short bounds what a bot sent, for a message.
func short(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// bounded keeps a message within what clients take as a status, in HTTP/2
// trailers.
func bounded(s string) string {
	const most = 1000
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
