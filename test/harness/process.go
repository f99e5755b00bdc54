package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Survivors returns the ids of the processes that have NAME=VALUE in their
// environment: what an action started, however it detached itself, inherits the
// environment of its command. Processes that are dead but not waited for do not
// count.
func Survivors(variable string) ([]int, error) {
	entries, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, path := range entries {
		data, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(append([]byte{0}, data...), []byte("\x00"+variable+"\x00")) {
			continue // it ended, or belongs to somebody else
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// AwaitNoSurvivors waits until Survivors finds none. It is an error when the time
// is up before; those that are left then are killed.
func AwaitNoSurvivors(ctx context.Context, variable string, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; {
		pids, err := Survivors(variable)
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			err := fmt.Errorf("%d processes of killed actions are still there %s later: %s", len(pids), patience, commandLines(pids))
			for _, pid := range pids {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func commandLines(pids []int) string {
	var lines []string
	for _, pid := range pids {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		lines = append(lines, fmt.Sprintf("%d %q", pid, bytes.ReplaceAll(data, []byte{0}, []byte{' '})))
	}
	return strings.Join(lines, ", ")
}

// AnonymousMemory returns the anonymous resident memory of the node in bytes.
func (n *Node) AnonymousMemory() (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Pid()))
	if err != nil {
		return 0, fmt.Errorf("read the node's memory: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("read the node's memory: no RssAnon in /proc")
}
