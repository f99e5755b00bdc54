package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/node/logstream"
	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// streamsDir is where log streams that others write are kept, in the data
// directory. Its files have no names.
const streamsDir = "logstreams"

// openStreams makes the hub of the log streams.
func (n *Node) openStreams(context.Context) error {
	dir := filepath.Join(n.config.DataDir, streamsDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("--data-dir %s: %w", n.config.DataDir, err)
	}
	o := logstream.Options{Dir: dir}
	if n.config.Clustered() {
		o.Node = n.config.Cluster.NodeID
	}
	n.streams = logstream.New(o)
	n.closers.add("log streams", n.streams.Close)
	return nil
}

// followOutput is the local worker's runners.StreamsFunc: what a command prints
// becomes two log streams, named in the metadata of its operations.
func (n *Node) followOutput(l *runners.Lease, stdout, stderr *os.File) func(stdout, stderr digest.Digest) {
	out, err := n.streams.Follow(l.Instance, stdout)
	if err != nil {
		_ = stderr.Close()
		n.logger.Debug("output of an action cannot be followed", "lease", l.ID, "error", err)
		return nil
	}
	errs, err := n.streams.Follow(l.Instance, stderr)
	if err != nil {
		out.End(digest.Digest{})
		n.logger.Debug("output of an action cannot be followed", "lease", l.ID, "error", err)
		return nil
	}
	n.workers.session.Streams(l.ID, l.Attempt, out.Name(), errs.Name())
	return func(stdout, stderr digest.Digest) {
		out.End(stdout)
		errs.End(stderr)
	}
}
