package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// simSeeds is how many runs there are of each simulation.
const simSeeds = 500

// simLoop runs the simulation of whole clusters, with more seeds than it has in
// other runs.
func simLoop(ctx context.Context, s *settings) error {
	seeds := simSeeds
	if s.rounds > 0 {
		seeds = s.rounds
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=3h", "-run", "^Test(Simulation|Formation)$", "github.com/bgrid-node/bgrid-node/test/sim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "SIM_SEEDS="+strconv.Itoa(seeds))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	s.say("sim: %d seeds each of grids and of nodes that form one, all invariants held\n%s", seeds, out)
	return nil
}
