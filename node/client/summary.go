package client

import (
	"fmt"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Summary is what people and scripts want to know of an operation; its JSON form
// is printed by the command line.
type Summary struct {
	Name       string     `json:"name"`
	Stage      string     `json:"stage"`
	Done       bool       `json:"done"`
	Action     string     `json:"action,omitempty"` // digest
	Worker     string     `json:"worker,omitempty"`
	Queued     *time.Time `json:"queued,omitempty"`
	Started    *time.Time `json:"started,omitempty"`
	Completed  *time.Time `json:"completed,omitempty"`
	WaitReason string     `json:"wait_reason,omitempty"`
	Cached     bool       `json:"cached,omitempty"`
	ExitCode   *int32     `json:"exit_code,omitempty"` // only when the command ran
	Error      string     `json:"error,omitempty"`     // why it did not
}

// Summary sums up what the server told.
func (o *Operation) Summary() Summary {
	s := Summary{Name: o.Name, Stage: o.Stage(), Done: o.Done, WaitReason: o.WaitReason()}
	if d := o.Metadata.GetActionDigest(); d != nil {
		s.Action = fmt.Sprintf("%s/%d", d.Hash, d.SizeBytes)
	}
	m := o.Metadata.GetPartialExecutionMetadata()
	if o.Done {
		s.Cached = o.Response.GetCachedResult()
		if ran := o.Response.GetResult().GetExecutionMetadata(); ran != nil {
			m = ran
		}
		if st := status.FromProto(o.Response.GetStatus()); st.Err() != nil {
			s.Error = Describe(st)
		}
		if r := o.Response.GetResult(); r != nil && s.Error == "" {
			s.ExitCode = &r.ExitCode
		}
	}
	s.Worker = m.GetWorker()
	s.Queued = timeOf(m.GetQueuedTimestamp())
	s.Started = timeOf(m.GetWorkerStartTimestamp())
	s.Completed = timeOf(m.GetWorkerCompletedTimestamp())
	return s
}

func timeOf(t *timestamppb.Timestamp) *time.Time {
	if t == nil || !t.IsValid() {
		return nil
	}
	at := t.AsTime()
	return &at
}
