// Command soak holds the long loops: a node is killed, its power is cut, its
// storage is filled beyond the cap, and it starts with a million blobs; after
// each, what it promised must hold. See docs/ARCHITECTURE.md, Guarantees.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

// settings are what every loop gets.
type settings struct {
	binary string // a bgrid-node
	dir    string // an empty directory that is removed afterwards
	rounds int    // 0: the loop's own number
	bazel  bool   // let Bazel build in some rounds
	seed   uint64
	out    io.Writer
}

// say prints a line with the time of day.
func (s *settings) say(format string, args ...any) {
	fmt.Fprintf(s.out, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// random returns a source of randomness that the seed and the purpose decide.
func (s *settings) random(purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, purpose)) }

// loops in the order in which they run.
var loops = [...]struct {
	name string
	what string
	run  func(context.Context, *settings) error
}{
	{"kill", "SIGKILL at random moments of a load", killLoop},
	{"power", "the power is cut at random moments of a load", powerLoop},
	{"cap", "uploads through a small cap while a build loops", capLoop},
	{"start", "start with a million blobs", startLoop},
	{"leases", "a plain bot works through ten thousand leases, and loses replies", leasesLoop},
	{"workers", "server and remote workers are killed while actions run", workersLoop},
	{"fair", "a small build behind ten thousand actions", fairLoop},
	{"cluster", "three nodes are one grid, and one of them after the other is broken", clusterLoop},
	{"sim", "whole clusters in virtual time, with faults that a seed decides", simLoop},
	{"chroot", "a Debian image becomes a chroot, and its compiler runs there", chrootLoop},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	s := &settings{out: os.Stdout}
	flags := flag.NewFlagSet("soak", flag.ExitOnError)
	only := flags.String("run", "", "run only the loops whose name matches this regular `expression`: kill, power, cap, start, leases, workers, fair, cluster, sim, chroot")
	flags.IntVar(&s.rounds, "rounds", 0, "rounds of a loop, or leases, actions of workers, faults of the cluster; 0 for its own number")
	flags.BoolVar(&s.bazel, "bazel", true, "let Bazel build in some rounds")
	flags.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "decides the random moments and sizes")
	dir := flags.String("dir", "", "where to put the nodes' data (default: a temporary directory)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: want flags only", flags.Arg(0))
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("read -run: %w", err)
	}
	work, err := os.MkdirTemp(*dir, "bgrid-soak-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(work)
	if s.binary, err = harness.Build(ctx, work); err != nil {
		return err
	}
	return runLoops(ctx, s, match, work)
}

// runLoops runs the loops that match, all of them even if one fails.
func runLoops(ctx context.Context, s *settings, match *regexp.Regexp, work string) error {
	s.say("seed %d", s.seed)
	var failed error
	ran := 0
	for _, l := range loops {
		if !match.MatchString(l.name) || ctx.Err() != nil {
			continue
		}
		ran++
		dir, err := os.MkdirTemp(work, l.name+"-")
		if err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		each := *s
		each.dir = dir
		each.say("%s: %s", l.name, l.what)
		began := time.Now()
		if err := l.run(ctx, &each); err != nil {
			each.say("%s: FAILED after %s: %v", l.name, time.Since(began).Round(time.Second), err)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", l.name, err))
		} else {
			each.say("%s: passed in %s", l.name, time.Since(began).Round(time.Second))
		}
		_ = os.RemoveAll(dir)
	}
	if ran == 0 {
		return errors.New("-run matches no loop: want kill, power, cap, start, leases, workers, fair, cluster, sim or chroot")
	}
	return errors.Join(failed, ctx.Err())
}
