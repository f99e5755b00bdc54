package bots

import (
	"fmt"
	"math"
	"strconv"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
)

// Worker configs by which a bot says what its leases share: CPUs, such as 15.5, and
// bytes of memory. Without them only its slots are counted.
const (
	configCPUs   = "cpus"
	configMemory = "memory"
)

// maxCPUs bounds what a bot may say that it has.
const maxCPUs = 1 << 20

// readRoom takes what the config says of CPUs or memory.
func (r *report) readRoom(config *botspb.Worker_Config) error {
	switch config.GetKey() {
	case configCPUs:
		n, err := strconv.ParseFloat(config.Value, 64)
		if err != nil || !(n >= 0.001 && n <= maxCPUs) {
			return invalid("bot_session.worker.configs", fmt.Sprintf("the cpus %q are not a number above 0", short(config.Value)))
		}
		r.room.CPUs = int64(math.Round(n * 1000))
	case configMemory:
		n, err := strconv.ParseInt(config.Value, 10, 64)
		if err != nil || n < 1 {
			return invalid("bot_session.worker.configs", fmt.Sprintf("the memory %q is not a number of bytes above 0", short(config.Value)))
		}
		r.room.Memory = n
	}
	return nil
}
