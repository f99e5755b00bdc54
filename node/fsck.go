package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bgrid-node/bgrid-node/raftfsm/invariants"
	"github.com/bgrid-node/bgrid-node/store/actioncache"
	"github.com/bgrid-node/bgrid-node/store/cas"
	"github.com/bgrid-node/bgrid-node/store/queue"
)

// Checkup is what Fsck found in a data directory.
type Checkup struct {
	NodeID   string    `json:"node"`
	Dir      string    `json:"dataDir"`
	Unclean  bool      `json:"uncleanEnd"` // the last process did not end cleanly: no fault
	Findings []Finding `json:"findings"`

	Blobs    int64 `json:"blobs"` // copies of blobs that were read
	Bytes    int64 `json:"bytes"` // of these
	Results  int64 `json:"results"`
	Jobs     int   `json:"unfinishedJobs"`
	Sessions int   `json:"sessions"`

	// Index is how far the node has come in the command log, and State a hash of its
	// queue and action cache there: the same on all nodes of a cluster at one index.
	// Empty when a store cannot be read.
	Index  uint64           `json:"appliedIndex"`
	State  string           `json:"state"`
	Stores invariants.State `json:"stores"`
	Log    *Log             `json:"log,omitempty"` // of a member of a cluster
}

// Finding is something wrong in one of the stores.
type Finding struct {
	Store string `json:"store"`
	What  string `json:"what"`
}

// Clean tells whether nothing is wrong.
func (c *Checkup) Clean() bool { return len(c.Findings) == 0 }

// find notes each line of an error as a finding of its own.
func (c *Checkup) find(store string, err error) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok && isJoined(err) {
		for _, one := range many.Unwrap() {
			c.find(store, one)
		}
		return
	}
	c.Findings = append(c.Findings, Finding{store, err.Error()})
}

// isJoined tells errors.Join from fmt.Errorf with several %w.
func isJoined(err error) bool { return fmt.Sprintf("%T", err) == "*errors.joinError" }

// FsckOptions says what Fsck looks at.
type FsckOptions struct {
	DataDir string
	// Progress is told how many bytes of blobs were read, of how many; nil: nobody is.
	Progress func(read, all int64)
	Logger   *slog.Logger // of the stores
}

// Fsck checks the data directory of a node that does not run: it takes the
// directory's lock, opens the stores, which does what a start of the node does
// after a crash and no more, and reads everything. It repairs nothing. An error
// means that it could not look: the directory is in use, or is none.
func Fsck(ctx context.Context, o FsckOptions) (_ *Checkup, err error) {
	d, err := lockDataDir(o.DataDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.unlock()) }()
	c := &Checkup{NodeID: d.nodeID, Dir: o.DataDir, Unclean: d.crashed, Findings: []Finding{}}
	blobs, err := c.blobs(ctx, o)
	if err != nil {
		return nil, err
	}
	if blobs == nil {
		return c, nil
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	return c, c.metadata(ctx, o, blobs)
}

// lockDataDir takes the lock of a directory that a node has used. It creates
// nothing, and leaves the mark of an unclean end alone.
func lockDataDir(path string) (*dataDir, error) {
	d := &dataDir{path: path}
	id, err := os.ReadFile(d.file(nodeIDFile))
	if err != nil {
		return nil, fmt.Errorf("--data-dir %s is no data directory of a node: %w", path, plain(err))
	}
	d.nodeID = strings.TrimSpace(string(id))
	if err := d.acquire(); err != nil {
		return nil, err
	}
	if err := errors.Join(d.checkFormat(), d.notePid()); err != nil {
		return nil, errors.Join(err, d.lock.Close())
	}
	_, err = os.Stat(d.file(runningFile))
	d.crashed = err == nil
	return d, nil
}

// blobs verifies the content-addressable storage. It is nil when it cannot be
// opened, which is a finding.
func (c *Checkup) blobs(ctx context.Context, o FsckOptions) (*cas.Store, error) {
	const store = "content-addressable storage"
	disk, _, err := diskSize(o.DataDir)
	if err != nil {
		return nil, err
	}
	blobs, err := cas.Open(ctx, cas.Options{
		Dir: filepath.Join(o.DataDir, casDir), Logger: o.Logger,
		MaxBytes:         max(disk, MinCASSize), // nothing is to be evicted, whatever the node's own cap is
		ProtectionWindow: cas.MaxProtectionWindow,
		ScrubInterval:    -1,
	})
	if err != nil {
		c.find(store, err)
		return nil, ctx.Err()
	}
	verified, err := blobs.Verify(ctx, o.Progress)
	c.Blobs, c.Bytes = verified.Blobs, verified.Bytes
	for _, d := range verified.Damaged {
		c.find(store, fmt.Errorf("blob %s: %w", d.Blob, d.Why))
	}
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), blobs.Close())
	}
	c.find(store, err)
	return blobs, nil
}

// metadata checks the action cache and the queue, and what they come to.
func (c *Checkup) metadata(ctx context.Context, o FsckOptions, blobs *cas.Store) (err error) {
	results, err := actioncache.Open(ctx, actioncache.Options{Dir: filepath.Join(o.DataDir, resultsDir), Blobs: blobs, Logger: o.Logger})
	if err != nil {
		c.find("action cache", err)
		return ctx.Err()
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	c.Results = results.Stats().Entries
	jobs, err := queue.Open(ctx, queue.Options{Path: filepath.Join(o.DataDir, queueFile), Logger: o.Logger})
	if err != nil {
		c.find("queue", err)
		c.find("action cache", results.Check(ctx))
		return ctx.Err()
	}
	defer func() { err = errors.Join(err, jobs.Close()) }()
	c.find("queue", jobs.Check(ctx))
	c.find("action cache", results.Check(ctx))
	c.find("queue", c.count(ctx, jobs))
	if err := c.log(ctx, o, jobs.AppliedIndex(), results.AppliedIndex()); err != nil {
		return err
	}
	state, err := invariants.StateOf(ctx, jobs, results)
	if err != nil {
		c.find("queue", err)
		return ctx.Err()
	}
	c.Stores, c.Index, c.State = state, state.Index(), state.Hash()
	return ctx.Err()
}

// count reads how much is unfinished, and whether it is as late as it says.
func (c *Checkup) count(ctx context.Context, jobs *queue.Store) error {
	unfinished, _, err := jobs.Unfinished(ctx)
	if err != nil {
		return err
	}
	sessions, err := jobs.Sessions(ctx)
	if err != nil {
		return err
	}
	c.Jobs, c.Sessions = len(unfinished), len(sessions)
	if at := jobs.AppliedTime(); time.Until(at) > time.Hour {
		return fmt.Errorf("the last command has the time %s, which is to come: the clock of a node was wrong, or this one's is", at.Format(time.RFC3339))
	}
	return nil
}
