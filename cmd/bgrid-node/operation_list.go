package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// everyStage is a filter that all operations pass, in BuildGrid's language.
const everyStage = "stage != UNKNOWN"

type listFlags struct {
	filter      string
	all, asJSON bool
	limit       int
}

func newOperationListCmd(r *remote) *cobra.Command {
	f := listFlags{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List executions: those not done, or what a filter asks for",
		Long: "List executions: those not done, with --all all that the server still knows, with --filter what passes it. The\n" +
			"filter's language is the server's; BuildGrid's and this server's is KEY OP VALUE [& ...].",
		Example: "  bgrid-node operation list --filter 'stage = completed & completed_time > 2026-11-01T08:00:00Z'\n" +
			"  bgrid-node operation list --filter 'command = gcc & sort_order = start_time(desc)' --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.all && f.filter != "" {
				return usageError(errors.New("--all and --filter: want one of them; a filter without a stage shows every stage"))
			}
			return r.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return f.list(ctx, c, cmd.OutOrStdout())
			})
		},
	}
	cmd.Flags().StringVar(&f.filter, "filter", "", "show what passes this `FILTER`")
	cmd.Flags().BoolVar(&f.all, "all", false, "show those that are done too")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object a line")
	cmd.Flags().IntVar(&f.limit, "limit", 1000, "stop after `N`, 0 for never")
	return cmd
}

func (f listFlags) list(ctx context.Context, c *client.Client, out io.Writer) error {
	if _, err := c.Capabilities(ctx); err != nil {
		return err
	}
	filter := f.filter
	if f.all {
		filter = everyStage
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	show := func(op *client.Operation) error { return listRow(table, op) }
	if f.asJSON {
		show = func(op *client.Operation) error { return json.NewEncoder(out).Encode(op.Summary()) }
	}
	count, more := 0, false
	var failed error
	err := c.ListOperations(ctx, filter, func(op *client.Operation) bool {
		if filter == "" && op.Done { // from servers with another default
			return true
		}
		if f.limit > 0 && count == f.limit {
			more = true
			return false
		}
		if count++; count == 1 && !f.asJSON {
			_, failed = fmt.Fprintln(table, "OPERATION\tSTAGE\tQUEUED\tDETAIL")
		}
		if failed == nil {
			failed = show(op)
		}
		return failed == nil
	})
	if err = errors.Join(err, failed); err == nil {
		err = table.Flush()
	}
	if err == nil && more && !f.asJSON {
		_, err = fmt.Fprintf(out, "... and more: --limit %d\n", 10*f.limit)
	}
	return err
}

func listRow(w io.Writer, op *client.Operation) error {
	s := op.Summary()
	queued := "-"
	if s.Queued != nil {
		queued = time.Since(*s.Queued).Truncate(time.Second).String() + " ago"
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Name, s.Stage, queued, detail(s))
	return err
}

// detail is the one thing most worth knowing: why it waits, where it runs, or how
// it ended.
func detail(s client.Summary) string {
	switch {
	case s.Error != "":
		return s.Error
	case s.ExitCode != nil && s.Cached:
		return fmt.Sprintf("exit code %d, from the cache", *s.ExitCode)
	case s.ExitCode != nil:
		return fmt.Sprintf("exit code %d, on %s", *s.ExitCode, s.Worker)
	case s.WaitReason != "":
		return s.WaitReason
	case s.Worker != "":
		return "on " + s.Worker
	}
	return "-"
}
