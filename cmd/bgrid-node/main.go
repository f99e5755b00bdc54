// Command bgrid-node is a remote-execution grid in one binary. See the README.
package main

import (
	"context"
	"os"

	"github.com/bgrid-node/bgrid-node/node"
)

func main() {
	// The process that starts, watches and kills an action is this same binary: it
	// must not go through any of what follows.
	node.MaybeShim()
	os.Exit(execute(context.Background(), os.Args, os.Stdout, os.Stderr))
}
