package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/raftfsm"
)

// Log is what Fsck found of the command log of a member of a cluster. Indexes
// count entries, which are groups of commands.
type Log struct {
	Member  string `json:"member"`  // the node's id in the cluster
	Cluster string `json:"cluster"` // its id
	First   uint64 `json:"first"`   // 0: the log is empty
	Last    uint64 `json:"last"`
	Term    uint64 `json:"term"`
	Marker  uint64 `json:"marker"` // up to which the stores are durable
	// Incoming says that the state of another member is taken over at the next
	// start: State means nothing until then.
	Incoming bool `json:"incoming"`
}

// log checks the command log of a node of a cluster; one that stands alone has
// none.
func (c *Checkup) log(ctx context.Context, o FsckOptions, inQueue, inCache uint64) error {
	dir := filepath.Join(o.DataDir, clusterDir)
	found, err := raftfsm.Inspect(ctx, filepath.Join(dir, "raft"), inQueue, inCache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	const store = "command log"
	for _, err := range found.Broken {
		c.find(store, err)
	}
	c.Log = &Log{First: found.First, Last: found.Last, Term: found.Term, Marker: found.Marker, Incoming: found.Incoming}
	c.find(store, c.Log.identify(filepath.Join(dir, "identity")))
	return nil
}

// identify reads who the member is.
func (l *Log) identify(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var who struct {
		NodeID    string `json:"node_id"`
		ClusterID string `json:"cluster_id"`
	}
	if err := json.Unmarshal(b, &who); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	l.Member, l.Cluster = who.NodeID, who.ClusterID
	return nil
}
