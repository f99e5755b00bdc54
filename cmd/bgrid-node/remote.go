package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// Where client commands look for a server when nothing names one: where a node
// without configuration listens.
const (
	defaultServer   = "127.0.0.1:50051"
	defaultInstance = "buildgrid"
)

// remote is the server that a client command talks to.
type remote struct {
	server, instance string
	dial             []grpc.DialOption // beside the usual ones
}

// register adds --server and --instance for cmd and its subcommands.
func (r *remote) register(cmd *cobra.Command) {
	instance, set := os.LookupEnv("BGRID_INSTANCE") // "" is an instance too
	if !set {
		instance = defaultInstance
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&r.server, "server", cmp.Or(os.Getenv("BGRID_SERVER"), defaultServer), "`HOST:PORT` of a Remote Execution API server; also BGRID_SERVER")
	flags.StringVar(&r.instance, "instance", instance, "instance `NAME` on it; also BGRID_INSTANCE")
}

// call runs do with a client and explains what people can do about an error.
func (r *remote) call(ctx context.Context, do func(context.Context, *client.Client) error) error {
	if _, _, err := net.SplitHostPort(r.server); err != nil && !strings.HasPrefix(r.server, "unix:") {
		return usageError(fmt.Errorf("--server %s: want HOST:PORT, such as %s", r.server, defaultServer))
	}
	c, err := client.Dial(r.server, r.instance, client.Options{ToolVersion: version().Version, DialOptions: r.dial})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	err = do(ctx, c)
	switch {
	case errors.Is(err, client.ErrUnreachable):
		return fmt.Errorf("%w; start one with `bgrid-node serve`, or name another with --server", err)
	case errors.Is(err, client.ErrInstance):
		return fmt.Errorf("%w; name another with --instance", err)
	}
	return err
}

// parseDigest reads a digest of the command line.
func parseDigest(text string) (client.Digest, error) {
	d, err := client.ParseDigest(text)
	if err != nil {
		return d, usageError(err)
	}
	return d, nil
}

// minArgs wants at least n arguments, named in what.
func minArgs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return fmt.Errorf("%s wants %s: see %s --help", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}

// exactArgs wants n arguments, named in what.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%s wants %s, have %d arguments: see %s --help", cmd.CommandPath(), what, len(args), cmd.CommandPath())
		}
		return nil
	}
}
