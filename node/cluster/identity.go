package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// record is what a node must not forget about its membership.
type record struct {
	NodeID    string `json:"node_id"`
	ClusterID string `json:"cluster_id,omitempty"` // of which it is, or was, accepted as a member
	Grant     *grant `json:"grant,omitempty"`      // the cluster that it promised to found
	Removed   bool   `json:"removed,omitempty"`    // it was told to take no part any longer
}

// grant is a promise to be a founding member of one cluster and of no other.
type grant struct {
	ClusterID      string `json:"cluster_id"`
	FounderID      string `json:"founder_id"` // this node's: it means to found it itself
	FounderAddress string `json:"founder_address"`
}

// identity is a record on the disk.
type identity struct {
	path string
	mu   sync.Mutex
	now  record
}

// openIdentity reads the record of dir, or begins one.
func openIdentity(dir, nodeID string) (*identity, error) {
	i := &identity{path: filepath.Join(dir, "identity")}
	b, err := os.ReadFile(i.path)
	if errors.Is(err, fs.ErrNotExist) {
		return i, i.update(func(r *record) error { r.NodeID = nodeID; return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	if err := json.Unmarshal(b, &i.now); err != nil {
		return nil, fmt.Errorf("read identity: %s: %w", i.path, err)
	}
	if i.now.NodeID != nodeID {
		return nil, fmt.Errorf("--node-id %s: this data directory is that of node %s (%s); a node keeps its id, another needs a data directory of its own", nodeID, i.now.NodeID, i.path)
	}
	return i, nil
}

func (i *identity) get() record {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now
}

// update changes the record; it is durable when update returns nil, and unchanged
// otherwise.
func (i *identity) update(change func(*record) error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	next := i.now
	if err := change(&next); err != nil {
		return err
	}
	if next == i.now {
		return nil
	}
	b, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	if err := replaceFile(i.path, append(b, '\n')); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	i.now = next
	return nil
}

// replaceFile writes a file so that after a power loss either the old or the new
// content is there.
func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".identity-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // there is none once it was renamed
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
