package node

import (
	"github.com/bgrid-node/bgrid-node/node/sched"
	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/cgroup"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// machineRoom is what the actions of a worker on this machine share.
func machineRoom() sched.Resources {
	room := cgroup.Room()
	return resources(room.CPUs, room.Memory)
}

// needsOf is the scheduler's Options.Needs.
func needsOf(carried []queue.Property) sched.Resources {
	if len(carried) == 0 {
		return sched.Resources{}
	}
	list := make([]runners.Property, len(carried))
	for i, p := range carried {
		list[i] = runners.Property(p)
	}
	return resources(runners.Needs(list))
}

func resources(cpus float64, memory int64) sched.Resources {
	const most = 1 << 20 // CPUs; more than any worker has
	if cpus > 0 {
		cpus = max(min(cpus, most), 0.001)
	}
	return sched.Resources{CPUs: int64(cpus * 1000), Memory: min(memory, 1<<48)}
}
