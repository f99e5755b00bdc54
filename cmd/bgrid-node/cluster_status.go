package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node"
)

func newClusterStatusCmd(p *clusterPeer) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Print who leads a cluster, and how its members are",
		Long: "Print who leads a cluster, and how its members are, as the node of --peer sees it. " +
			"The exit code is 1 when that node has no quorum.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.call(cmd.Context(), func(ctx context.Context, c *node.ClusterControl) error {
				status, err := c.Status(ctx)
				if err != nil {
					return err
				}
				if err := printCluster(cmd.OutOrStdout(), status, asJSON); err != nil {
					return err
				}
				if !status.Quorum {
					return fmt.Errorf("node %s has no quorum: %s", status.Node, cmp.Or(status.Problem, "it hears of no leader"))
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func printCluster(out io.Writer, s node.ClusterStatus, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(s)
	}
	_, err := fmt.Fprintf(out, "cluster %s, led by %s at term %d, as node %s sees it\n",
		cmp.Or(s.ClusterID, "none"), cmp.Or(s.Leader, "nobody"), s.Term, s.Node)
	if err != nil || len(s.Members) == 0 {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NODE\tADDRESS\tSTATE\tAPPLIED\tLAG\tHEARD\tDATA\tFREE\tVERSION\tDETAIL")
	for _, m := range s.Members {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", m.ID, m.Address, memberState(m), memberFigures(m), cmp.Or(m.Trouble, "-"))
	}
	return table.Flush()
}

func memberState(m node.ClusterMember) string {
	if m.Voter {
		return m.State
	}
	return m.State + ", no vote yet"
}

// memberFigures are the columns that only a member itself knows.
func memberFigures(m node.ClusterMember) string {
	if m.State == node.ClusterUnreachable {
		return "-\t-\t-\t-\t-\t-"
	}
	heard := "never"
	if m.LastContact >= 0 {
		heard = fmt.Sprintf("%d ms", m.LastContact)
	}
	return fmt.Sprintf("%d\t%d\t%s\t%s\t%s\t%s", m.Applied, m.Lag, heard, mebibytes(m.DiskUsed), mebibytes(m.DiskFree), cmp.Or(m.Version, "-"))
}

func mebibytes(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }
