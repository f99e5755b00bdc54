package runners

import (
	"fmt"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// usageFields names the members of the google.protobuf.Struct that goes into
// ExecutedActionMetadata.auxiliary_metadata: what getrusage(2) tells of the
// command and all that it started. A Struct, since every client can read and
// print it without knowing this server. The type of resources is in "kind".
//
//	kind                          "bgrid.resource_usage"
//	user_seconds                  CPU time in user mode
//	system_seconds                CPU time in the kernel
//	max_rss_bytes                 of the largest single process
//	minor_faults, major_faults    page faults without and with I/O
//	read_bytes, written_bytes     block I/O of file systems
//	voluntary_switches            context switches: it waited
//	involuntary_switches          context switches: its time slice was over
const usageKind = "bgrid.resource_usage"

// describeUsage adds what the command used to the metadata.
func (e *execution) describeUsage() error {
	u := &e.exit.Usage
	number := structpb.NewNumberValue
	any, err := anypb.New(&structpb.Struct{Fields: map[string]*structpb.Value{
		"kind":                 structpb.NewStringValue(usageKind),
		"user_seconds":         number(u.User.Seconds()),
		"system_seconds":       number(u.System.Seconds()),
		"max_rss_bytes":        number(float64(u.MaxRSS)),
		"minor_faults":         number(float64(u.MinorFaults)),
		"major_faults":         number(float64(u.MajorFaults)),
		"read_bytes":           number(float64(u.ReadBytes)),
		"written_bytes":        number(float64(u.WrittenBytes)),
		"voluntary_switches":   number(float64(u.VoluntarySwitches)),
		"involuntary_switches": number(float64(u.InvoluntarySwitches)),
	}})
	if err != nil {
		return fmt.Errorf("describe resource usage: %w", err)
	}
	e.meta.AuxiliaryMetadata = append(e.meta.AuxiliaryMetadata, any)
	e.meta.VirtualExecutionDuration = durationpb.New(e.exit.Completed.Sub(e.exit.Started))
	return nil
}
