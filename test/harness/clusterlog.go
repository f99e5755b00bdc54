package harness

import (
	"fmt"
	"os"
	"strings"
)

// logTail is how much of each node's log is worth printing.
const logTail = 64 << 10

// Logs returns the ends of all nodes' logs, over all their starts.
func (c *Cluster) Logs() string {
	var b strings.Builder
	for _, m := range c.Members {
		data, err := os.ReadFile(m.logFile.Name())
		if err != nil {
			data = []byte(err.Error())
		}
		if over := len(data) - logTail; over > 0 {
			data = append([]byte("...\n"), data[over:]...)
		}
		fmt.Fprintf(&b, "log of %s:\n%s\n", m.ID, data)
	}
	return b.String()
}
