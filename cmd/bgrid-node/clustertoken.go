package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node/cluster/kubetoken"
)

// newClusterTokenCmd returns the command that makes the secret which the nodes of a
// cluster share.
func newClusterTokenCmd() *cobra.Command {
	var name string
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a new token for a cluster",
		Long: "Print a new token for --cluster-token-file. With --kubernetes-secret, in a pod, store it in a Secret of the pod's namespace instead:\n" +
			"under the key `" + kubetoken.Key + "`, and only if there is no Secret of that name yet.",
		Example: "  (umask 077; bgrid-node cluster token > token)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			token := kubetoken.NewToken()
			if name == "" {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), token)
				return err
			}
			api, err := kubetoken.InCluster()
			if err != nil {
				return fmt.Errorf("--kubernetes-secret: %w", err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), patience)
			defer cancel()
			created, err := api.Create(ctx, name, token)
			if err != nil {
				return err
			}
			verdict := "is there already; it stays as it is"
			if created {
				verdict = "created"
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "secret %s: %s\n", name, verdict)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "kubernetes-secret", "", "`NAME` of a Secret to make")
	cmd.Flags().DurationVar(&patience, "patience", 2*time.Minute, "how long to try while the API server is away or refuses; `DURATION`")
	return cmd
}
