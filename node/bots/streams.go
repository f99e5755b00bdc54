package bots

import (
	"strconv"
	"strings"

	"github.com/bgrid-node/bgrid-node/node/bots/botspb"
	"github.com/bgrid-node/bgrid-node/node/sched"
)

// Keys of Lease.requirements.configs by which a bot names the log streams that it
// writes the output of a lease to (LogStreamService).
const (
	configStdout = "stdout_stream"
	configStderr = "stderr_stream"
)

// maxStreamName bounds the names in bytes.
const maxStreamName = 1024

// takeStreams hands the names on, for the metadata of operations. What is not a
// log stream of this instance is ignored.
func (c *call) takeStreams(l sched.Lease, listed *botspb.Lease) {
	var stdout, stderr, attempt string
	for _, config := range listed.GetRequirements().GetConfigs() {
		switch config.GetKey() {
		case configStdout:
			stdout = config.GetValue()
		case configStderr:
			stderr = config.GetValue()
		case configAttempt:
			attempt = config.GetValue()
		}
	}
	if attempt != strconv.Itoa(int(l.Attempt)) || !c.isStream(stdout) || !c.isStream(stderr) {
		return
	}
	c.open.Streams(l.Job.ID, l.Attempt, stdout, stderr)
}

func (c *call) isStream(name string) bool {
	prefix := "logstreams/"
	if c.o.Instance != "" {
		prefix = c.o.Instance + "/" + prefix
	}
	return name == "" || (len(name) <= maxStreamName && strings.HasPrefix(name, prefix))
}
