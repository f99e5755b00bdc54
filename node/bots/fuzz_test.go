package bots

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
)

// FuzzReport reads any message: a report that is taken keeps to the bounds.
func FuzzReport(f *testing.F) {
	full := bot("b", 3)
	full.Version = "7"
	full.Leases = []*botspb.Lease{{Id: "main/x", State: botspb.LeaseState_ACTIVE}, {Id: "y", State: botspb.LeaseState_COMPLETED}}
	f.Add(must(proto.Marshal(full)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		b := new(botspb.BotSession)
		if proto.Unmarshal(data, b) != nil {
			return
		}
		r, err := readReport(t.Context(), b)
		if err != nil {
			return
		}
		if r.capacity < 1 || r.capacity > maxCapacity || len(r.properties) > maxProperties || r.version < 0 || len(r.jobs()) > len(b.Leases) {
			t.Errorf("taken: %+v", r)
		}
	})
}
