package bots

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/sched"
)

func TestABotMaySayWhatItsLeasesShare(t *testing.T) {
	for _, c := range []struct {
		key, value string
		want       sched.Resources
		refused    bool
	}{
		{"cpus", "15.5", sched.Resources{CPUs: 15500}, false},
		{"memory", "68719476736", sched.Resources{Memory: 64 << 30}, false},
		{"DockerImage", "x", sched.Resources{}, false},
		{"cpus", "many", sched.Resources{}, true},
		{"cpus", "NaN", sched.Resources{}, true},
		{"cpus", "0", sched.Resources{}, true},
		{"cpus", "1e300", sched.Resources{}, true},
		{"memory", "64G", sched.Resources{}, true},
		{"memory", "-1", sched.Resources{}, true},
	} {
		r, err := readReport(t.Context(), &botspb.BotSession{BotId: "b", Worker: &botspb.Worker{
			Configs: []*botspb.Worker_Config{{Key: c.key, Value: c.value}},
		}})
		if refused := err != nil; refused != c.refused {
			t.Errorf("%s=%s: error %v, want one: %t", c.key, c.value, err, c.refused)
			continue
		}
		if err == nil {
			if diff := cmp.Diff(c.want, r.room); diff != "" {
				t.Errorf("%s=%s (-want +have):\n%s", c.key, c.value, diff)
			}
		}
	}
}
