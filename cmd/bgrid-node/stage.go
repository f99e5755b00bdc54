package main

import (
	"fmt"
	"io"
	"time"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// stageWatcher tells on w, when verbose, each stage and each reason for waiting
// once, and at the end where the action ran and whether that was just now.
// Otherwise it tells only why an execution that waits for long does so.
func stageWatcher(w io.Writer, verbose bool) func(*client.Operation) {
	if !verbose {
		return (&waitTeller{w: w}).watch
	}
	last := ""
	return func(op *client.Operation) {
		line := stageLine(op)
		if last == "" {
			line = op.Name + ": " + line
		}
		if line != last {
			_, _ = fmt.Fprintln(w, "bgrid-node: "+line)
			last = line
		}
	}
}

func stageLine(op *client.Operation) string {
	s := op.Summary()
	switch {
	case s.Error != "":
		return s.Stage + ": " + s.Error
	case s.Done && s.Cached:
		return "answered from the cache; it ran on " + s.Worker
	case s.Done && s.Started != nil && s.Completed != nil:
		return fmt.Sprintf("ran on %s in %s", s.Worker, s.Completed.Sub(*s.Started).Round(time.Millisecond))
	case s.Done:
		return "ran on " + s.Worker
	}
	if text := detail(s); text != "-" {
		return s.Stage + ": " + text
	}
	return s.Stage
}
