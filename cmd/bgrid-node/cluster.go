package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bgrid-node/bgrid-node/node"
)

func newClusterCmd() *cobra.Command {
	p := &clusterPeer{}
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Look at a cluster and change its members",
		Long: "Look at a cluster and change its members, through the peer port of any of its nodes.\n\n" +
			"Nodes form a cluster, join it and come back to it without any of these commands.",
		RunE: needsSubcommand,
	}
	token := newClusterTokenCmd()
	cmd.AddCommand(newClusterStatusCmd(p), newClusterJoinCmd(p), newClusterRemoveCmd(p), newClusterTransferCmd(p), newClusterSnapshotCmd(p))
	for _, sub := range cmd.Commands() {
		p.register(sub)
	}
	cmd.AddCommand(token)
	return cmd
}

// defaultPeer is where a node without configuration listens for its peers.
const defaultPeer = "127.0.0.1:" + node.DefaultPeerPort

// clusterPatience bounds one command.
const clusterPatience = 30 * time.Second

// clusterPeer is the node that a command talks to.
type clusterPeer struct{ address, tokenFile, config string }

func (p *clusterPeer) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&p.address, "peer", "", "`HOST:PORT` of a node's --peer-listen; also BGRID_PEER_LISTEN, or that of --config (default "+defaultPeer+")")
	flags.StringVar(&p.tokenFile, "cluster-token-file", "", "`FILE` with the secret that all nodes share; also BGRID_CLUSTER_TOKEN_FILE, or that of --config")
	flags.StringVar(&p.config, "config", "", "configuration `FILE` of the node; also BGRID_CONFIG")
}

// fill takes what no flag said from the environment, and then from the
// configuration of a node.
func (p *clusterPeer) fill() error {
	p.address = cmp.Or(p.address, os.Getenv("BGRID_PEER_LISTEN"))
	p.tokenFile = cmp.Or(p.tokenFile, os.Getenv("BGRID_CLUSTER_TOKEN_FILE"))
	if file := cmp.Or(p.config, os.Getenv("BGRID_CONFIG")); file != "" && (p.address == "" || p.tokenFile == "") {
		loaded, err := (&optionFlags{file: file}).load()
		if err != nil {
			return err
		}
		p.address = cmp.Or(p.address, loaded.Config.Cluster.PeerListen)
		p.tokenFile = cmp.Or(p.tokenFile, loaded.Config.Cluster.TokenFile)
	}
	p.address = cmp.Or(p.address, defaultPeer)
	if _, _, err := net.SplitHostPort(p.address); err != nil {
		return fmt.Errorf("--peer %s: want HOST:PORT, such as %s", p.address, defaultPeer)
	}
	if p.tokenFile == "" {
		return errors.New("--cluster-token-file is needed: nodes answer only who knows the secret that they share")
	}
	return nil
}

// call runs do with the control of the node.
func (p *clusterPeer) call(ctx context.Context, do func(context.Context, *node.ClusterControl) error) error {
	if err := p.fill(); err != nil {
		return usageError(err)
	}
	control, err := node.DialCluster(p.address, p.tokenFile, node.Build{Version: version().Version})
	if err != nil {
		return usageError(err)
	}
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	return do(ctx, control)
}

func newClusterJoinCmd(p *clusterPeer) *cobra.Command {
	return &cobra.Command{
		Use:   "join HOST:PORT",
		Short: "Have the node of --peer join the cluster of another node",
		Long: "Have the node of --peer join the cluster of the node whose peer port is HOST:PORT.\n\n" +
			"Nodes that know peers join by themselves; this is for one that was removed before, or that knows none.",
		Args: exactArgs(1, "HOST:PORT of a member"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.call(cmd.Context(), func(ctx context.Context, c *node.ClusterControl) error {
				if err := c.Join(ctx, args[0]); err != nil {
					return err
				}
				_, err := fmt.Fprintln(cmd.ErrOrStderr(), "accepted: it votes once it has caught up, see `bgrid-node cluster status`")
				return err
			})
		},
	}
}

func newClusterRemoveCmd(p *clusterPeer) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NODE",
		Short: "Make a node no member any longer",
		Long: "Make a node no member any longer. One that lives stops to take part until `bgrid-node cluster join`; " +
			"for one that is dead for good, the others need fewer nodes for a majority from then on. " +
			"Refused when the members that can be reached would be no majority of those that remain.",
		Args: exactArgs(1, "NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.call(cmd.Context(), func(ctx context.Context, c *node.ClusterControl) error {
				if err := c.Remove(ctx, args[0]); err != nil {
					return err
				}
				_, err := fmt.Fprintln(cmd.ErrOrStderr(), "removed", args[0])
				return err
			})
		},
	}
}

func newClusterTransferCmd(p *clusterPeer) *cobra.Command {
	return &cobra.Command{
		Use:   "transfer",
		Short: "Have the leader hand leadership over to another node",
		Long:  "Have the leader hand leadership over to the node that is least behind, and print which one leads then.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.call(cmd.Context(), func(ctx context.Context, c *node.ClusterControl) error {
				leader, err := c.Transfer(ctx)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), leader)
				return err
			})
		},
	}
}

func newClusterSnapshotCmd(p *clusterPeer) *cobra.Command {
	return &cobra.Command{
		Use:   "snapshot",
		Short: "Have the node of --peer write a snapshot and shorten its log",
		Long:  "Have the node of --peer write a snapshot and shorten its log. Nodes do so by themselves.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.call(cmd.Context(), func(ctx context.Context, c *node.ClusterControl) error { return c.Snapshot(ctx) })
		},
	}
}
