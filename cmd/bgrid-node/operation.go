package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

func newOperationCmd() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use:     "operation",
		Aliases: []string{"op"},
		Short:   "List, inspect, await and cancel executions",
		RunE:    needsSubcommand,
	}
	r.register(cmd)
	cmd.AddCommand(newOperationListCmd(r), newOperationGetCmd(r), newOperationWaitCmd(r), newOperationCancelCmd(r))
	return cmd
}

// needsSubcommand is what a command that only groups others does by itself.
func needsSubcommand(cmd *cobra.Command, _ []string) error {
	return usageError(fmt.Errorf("%s wants a command: see %s --help", cmd.CommandPath(), cmd.CommandPath()))
}

// printOperation prints one operation: a line for each thing that is known, or a
// JSON object.
func printOperation(w io.Writer, op *client.Operation, asJSON bool) error {
	s := op.Summary()
	if asJSON {
		return json.NewEncoder(w).Encode(s)
	}
	lines := [][2]string{
		{"name", s.Name}, {"stage", s.Stage}, {"waits", s.WaitReason}, {"action", s.Action}, {"worker", s.Worker},
		{"queued", timeText(s.Queued)}, {"started", timeText(s.Started)}, {"completed", timeText(s.Completed)},
		{"error", s.Error},
	}
	if s.Cached {
		lines = append(lines, [2]string{"cached", "yes"})
	}
	if s.ExitCode != nil {
		lines = append(lines, [2]string{"exit code", fmt.Sprint(*s.ExitCode)})
	}
	for _, l := range lines {
		if l[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-10s %s\n", l[0]+":", l[1]); err != nil {
			return err
		}
	}
	return nil
}

func timeText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Local().Format(time.RFC3339)
}

// lookAt gets the operation named by the only argument and hands it to show.
func lookAt(r *remote, cmd *cobra.Command, name string, show func(*client.Operation) error) error {
	return r.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
		op, err := c.Operation(ctx, name)
		if err != nil {
			return err
		}
		return show(op)
	})
}
