package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// plainLeases is how many leases the plain bot works through.
const plainLeases = 10_000

// leasesLoop runs the test of the bot that knows no more than BuildGrid's protocol,
// with more leases than it has in other runs.
func leasesLoop(ctx context.Context, s *settings) error {
	leases := plainLeases
	if s.rounds > 0 {
		leases = s.rounds
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-run", "^TestAPlainBotWorksThroughAllLeases$", "github.com/bgrid-node/bgrid-node/node/bots")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "BOT_LEASES="+strconv.Itoa(leases))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	s.say("leases: %d of them, each executed once", leases)
	return nil
}
