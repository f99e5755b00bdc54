package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// workerRow is a worker as the server's pages tell of it.
type workerRow struct {
	BotID      string    `json:"bot_id"`
	State      string    `json:"state"`
	Reason     string    `json:"reason,omitempty"`
	Properties []string  `json:"properties"`
	Slots      int       `json:"slots"`
	Busy       int       `json:"busy"`
	Local      bool      `json:"local,omitempty"`
	Since      time.Time `json:"since"`
	Operations []string  `json:"operations,omitempty"`
}

func newWorkerListCmd() *cobra.Command {
	p := &pages{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the workers of a server, local and remote",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.ask(cmd.Context(), http.MethodGet, "/api/workers", func(body io.Reader) error {
				var rows []workerRow
				if err := json.NewDecoder(body).Decode(&rows); err != nil {
					return fmt.Errorf("read the list of workers: %w", err)
				}
				return printWorkers(cmd.OutOrStdout(), rows, asJSON)
			})
		},
	}
	p.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func printWorkers(out io.Writer, rows []workerRow, asJSON bool) error {
	if asJSON {
		for _, row := range rows {
			if err := json.NewEncoder(out).Encode(row); err != nil {
				return err
			}
		}
		return nil
	}
	if len(rows) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "WORKER\tSTATE\tBUSY\tPROPERTIES\tDETAIL")
	for _, row := range rows {
		detail := row.Reason
		if detail == "" {
			detail = "-"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d of %d\t%s\t%s\n", row.BotID, row.State, row.Busy, row.Slots, strings.Join(row.Properties, " "), detail)
	}
	return table.Flush()
}

// newDrainCmd makes `worker drain`, or `worker undrain`.
func newDrainCmd(verb, short, long string) *cobra.Command {
	p := &pages{}
	cmd := &cobra.Command{
		Use:   verb + " WORKER...",
		Short: short,
		Long:  long,
		Args:  minArgs(1, "the names of workers"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, bot := range args {
				if err := p.drain(cmd.Context(), bot, verb); err != nil {
					return err
				}
			}
			return nil
		},
	}
	p.register(cmd)
	return cmd
}

func (p *pages) drain(ctx context.Context, bot, verb string) error {
	return p.ask(ctx, http.MethodPost, "/api/workers/"+escaped(bot)+"/"+verb, func(io.Reader) error { return nil })
}
