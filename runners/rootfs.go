package runners

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// RootFSMark returns what makes the directory dir one that is meant to be the
// root of a file system, relative to it, or "": bin/sh, usr/bin/env, or the program
// itself, when that is an absolute path.
func RootFSMark(dir, program string) string {
	for _, tool := range [...]string{"bin/sh", "usr/bin/env"} {
		if lexists(filepath.Join(dir, tool)) {
			return tool
		}
	}
	if filepath.IsAbs(program) && lexists(filepath.Join(dir, program)) {
		return program[1:]
	}
	return ""
}

func lexists(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil
}
