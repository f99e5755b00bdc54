package hosttools

import (
	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/runners"
)

// refuseRootFS refuses an input root that is meant to be the root of a file
// system. Such an action names its files by absolute paths: run here it would
// read and write the host's. The scheduler does not send these; this is the
// second line of defence.
func refuseRootFS(t runners.Task) error {
	for _, tool := range [...]string{"/bin/sh", "/usr/bin/env"} {
		if exists(t.Dir + tool) {
			return unfit(tool)
		}
	}
	if program := t.Args[0]; program[0] == '/' && exists(t.Dir+program) {
		return unfit(program)
	}
	return nil
}

func unfit(path string) error {
	return runners.Unfit("the input root is a root file system (%s is in it): the runner %s would run it on the host's files; "+
		"it needs a worker with the runner bubblewrap or userchroot", path[1:], Name)
}

func exists(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil
}
