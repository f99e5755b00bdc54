// Command bench drives a running bgrid-node and prints each figure of the speed
// table beside its floor, measured in the same run and interleaved with it: a
// null server that answers the same calls from memory, raw SHA-256, raw append
// and fsync, bare fork and exec.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	only     *regexp.Regexp
	duration time.Duration // of one measurement
	rounds   int           // of floor and product, alternating
	json     bool
	binary   string // a bgrid-node that is built already
	profiles string // a directory for CPU profiles of the product, "" for none
	dir      string // where data goes
	blobs    int    // in the store of the second start-up row
	args     []string
}

func main() {
	if addressFile := os.Getenv(nullServerVariable); addressFile != "" {
		exitOn(serveNull(addressFile))
		return
	}
	o, err := parseOptions()
	exitOn(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exitOn(run(ctx, o))
}

func parseOptions() (options, error) {
	var o options
	only := flag.String("only", "", "run only the rows whose name matches this regular `expression`")
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "of each measurement")
	flag.IntVar(&o.rounds, "rounds", 3, "alternating measurements of floor and product; the median of their ratios counts")
	flag.BoolVar(&o.json, "json", false, "print JSON, one object a row")
	flag.StringVar(&o.binary, "binary", "", "bgrid-node to measure (default: built from this tree)")
	flag.StringVar(&o.profiles, "profiles", "", "write a CPU profile of the node for each row into this `directory`")
	flag.StringVar(&o.dir, "dir", "", "where to put the node's data (default: a temporary directory)")
	flag.IntVar(&o.blobs, "blobs", 1_000_000, "in the store of the start-up row for a full store")
	flag.Parse()
	o.args = flag.Args()
	if o.rounds < 1 || o.duration <= 0 {
		return o, fmt.Errorf("-rounds and -duration must be positive")
	}
	expression, err := regexp.Compile(*only)
	if err != nil {
		return o, fmt.Errorf("read -only: %w", err)
	}
	o.only = expression
	return o, nil
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
