package node

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Print writes the checkup for people, a line for each finding.
func (c *Checkup) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s in %s\n", c.NodeID, c.Dir)
	if c.Unclean {
		b.WriteString("the last process did not end cleanly, which is no fault\n")
	}
	fmt.Fprintf(&b, "content-addressable storage: %d blobs of %d bytes, each read against its hash\n", c.Blobs, c.Bytes)
	if l := c.Log; l != nil {
		fmt.Fprintf(&b, "command log: member %s of cluster %s, entries %d to %d, term %d, stores durable up to entry %d\n",
			l.Member, l.Cluster, l.First, l.Last, l.Term, l.Marker)
		if l.Incoming {
			b.WriteString("the state of another member came in, and is taken over at the next start\n")
		}
	}
	if c.State != "" {
		fmt.Fprintf(&b, "action cache: %d results, index %d\n", c.Results, c.Stores.CacheIndex)
		fmt.Fprintf(&b, "queue: %d unfinished jobs, %d sessions of workers, index %d\n", c.Jobs, c.Sessions, c.Stores.QueueIndex)
		fmt.Fprintf(&b, "state %s at index %d\n", c.State, c.Index)
	}
	for _, f := range c.Findings {
		fmt.Fprintf(&b, "WRONG %s: %s\n", f.Store, strings.Join(strings.Fields(f.What), " "))
	}
	if c.Clean() {
		b.WriteString("nothing is wrong\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// PrintJSON writes the checkup for programs, in one line.
func (c *Checkup) PrintJSON(w io.Writer) error { return json.NewEncoder(w).Encode(c) }
