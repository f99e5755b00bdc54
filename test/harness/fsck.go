package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
)

// Checkup is what `bgrid-node fsck --json` prints, as far as tests need it.
type Checkup struct {
	Findings []struct{ Store, What string }
	Blobs    int64
	Index    uint64 `json:"appliedIndex"`
	State    string // hash of the queue and the action cache
}

// Fsck checks the data directory of a node that has ended. Findings are no error.
func Fsck(ctx context.Context, binary, dataDir string) (Checkup, error) {
	cmd := exec.CommandContext(ctx, binary, "fsck", "--json", "--data-dir", dataDir)
	cmd.Env = environment()
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run() // fails for findings, too
	var c Checkup
	if json.Unmarshal(out.Bytes(), &c) != nil {
		return c, fmt.Errorf("fsck %s: %w: %s", dataDir, err, bytes.TrimSpace(complaint.Bytes()))
	}
	return c, nil
}
