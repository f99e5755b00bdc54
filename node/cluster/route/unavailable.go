package route

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// comeBack is the RetryInfo of calls that nobody could answer.
const comeBack = time.Second

// unavailable is UNAVAILABLE, with RetryInfo.
func unavailable(message string) error {
	s := status.New(codes.Unavailable, message)
	if with, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(comeBack)}); err == nil {
		s = with
	}
	return s.Err()
}

// asUnavailable is what a client gets of an error that is about who was asked.
func asUnavailable(err error) error {
	s := status.Convert(err)
	if s.Code() == codes.Unavailable {
		for _, d := range s.Details() {
			if _, ok := d.(*errdetails.RetryInfo); ok {
				return err
			}
		}
	}
	return unavailable(s.Message())
}
