package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Leave takes this process, alone in a Group, out of it and removes the group: for
// one that outlives the group's maker, who can no longer do it.
func Leave() {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil || !strings.Contains(string(own), "/"+namePrefix) {
		return
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	m, err := locate(string(own), string(mounts))
	if err != nil {
		return
	}
	for _, dir := range (&Group{dirs: m.dirs}).distinct() {
		if base := filepath.Base(dir); strings.HasPrefix(base, namePrefix) && base != leafName {
			leave(dir)
		}
	}
}

func leave(dir string) {
	pid, parent := strconv.Itoa(os.Getpid()), filepath.Dir(dir)
	if write(parent, "cgroup.procs", pid) != nil && write(filepath.Join(parent, leafName), "cgroup.procs", pid) != nil {
		return
	}
	const tries = 20 // those that just ended may still be on their way out
	for range tries {
		if err := unix.Rmdir(dir); err == nil || err == unix.ENOENT {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
