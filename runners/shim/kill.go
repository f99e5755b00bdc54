package shim

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killDescendants kills and reaps every process below this one. Orphans become
// this process's children at the moment their parent dies and before it can be
// reaped, so going on until there is no child at all misses none, whatever
// sessions and groups they moved to.
func killDescendants(reply *Reply) {
	for {
		var status syscall.WaitStatus
		var usage syscall.Rusage
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, &usage)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil: // ECHILD: none is left
			return
		case pid == 0: // some are, and they run
			pids := children()
			for _, p := range pids {
				killChild(p)
			}
			if len(pids) == 0 {
				time.Sleep(time.Millisecond) // between two parents: look again
				continue
			}
			pid, err = syscall.Wait4(-1, &status, 0, &usage)
		}
		if err == nil && pid > 0 {
			reply.Left++
			reply.addUsage(&usage)
		}
	}
}

// killChild kills one child and its process group: a group dies at a stroke, also
// when its members fork faster than they could be found one by one.
func killChild(pid int) {
	// Only this thread reaps the child, so neither id can have another owner.
	if group, err := unix.Getpgid(pid); err == nil && group > 1 && group != unix.Getpgrp() {
		_ = unix.Kill(-group, unix.SIGKILL)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}

// children lists the direct children of this process, those of all its threads.
func children() []int {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return childrenByScan()
	}
	var pids []int
	for _, t := range tasks {
		b, err := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		if err != nil {
			return childrenByScan() // a kernel without CONFIG_PROC_CHILDREN
		}
		for _, f := range bytes.Fields(b) {
			if pid, err := strconv.Atoi(string(f)); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// childrenByScan finds the children by looking at every process.
func childrenByScan() []int {
	self := os.Getpid()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if b, err := os.ReadFile("/proc/" + e.Name() + "/stat"); err == nil && parentIn(b) == self {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parentIn returns the parent's id in a line of /proc/PID/stat: the second field
// after the name, which is in parentheses and may itself hold any of them.
func parentIn(stat []byte) int {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(string(fields[1]))
	return ppid
}
