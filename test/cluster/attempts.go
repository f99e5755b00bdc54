package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/bgrid-node/bgrid-node/store/queue"
)

var (
	jobAttempt = regexp.MustCompile(`(?m)^job .* attempt="(\d+)"`)
	jobCommand = regexp.MustCompile(` command="((?:[^"\\]|\\.)*)"`)
	jobHistory = regexp.MustCompile(` history="((?:[^"\\]|\\.)*)"`)
)

// repeated returns the commands of the jobs that were given to a worker more than
// once, and how many jobs there are, from the queue of a node that has ended.
func repeated(ctx context.Context, dataDir string) (commands []string, jobs int, err error) {
	q, err := queue.Open(ctx, queue.Options{Path: filepath.Join(dataDir, "queue.sqlite"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	var dump bytes.Buffer
	if err := q.Dump(ctx, &dump); err != nil {
		return nil, 0, err
	}
	for line := range bytes.Lines(dump.Bytes()) {
		m := jobAttempt.FindSubmatch(line)
		if m == nil {
			continue
		}
		jobs++
		if n, err := strconv.Atoi(string(m[1])); err != nil || n != 1 {
			commands = append(commands, fmt.Sprintf("attempt %s of %s: %s", m[1], find(jobCommand, line), find(jobHistory, line)))
		}
	}
	return commands, jobs, nil
}

func find(r *regexp.Regexp, line []byte) string {
	if m := r.FindSubmatch(line); m != nil {
		return string(m[1])
	}
	return "?"
}
