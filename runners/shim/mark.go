package shim

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A shim that is itself killed with SIGKILL cannot clean up: the command dies
// with it (PR_SET_PDEATHSIG), but what the command started goes on, as orphans
// that nothing tells apart from other processes. So every shim carries a mark
// that all its descendants inherit and cannot raise again, that shows in
// /proc/PID/limits, and that nothing else cares for: the hard limit of bytes in
// POSIX message queues, lowered from the kernel's 819200 by a number that stands
// for the owner's directory. Whoever has lost a shim kills what carries its mark.

const (
	markCeiling = 819200 // the kernel's default of RLIMIT_MSGQUEUE
	markOwners  = 400
	// MaxShims bounds the shims that one owner may have at a time.
	MaxShims = 1 << 10
)

// Mark stands for the owner of shims. The zero Mark marks nothing.
type Mark uint64

// MarkFor returns the mark of the owner of dir.
func MarkFor(dir string) Mark {
	h := fnv.New64a()
	h.Write([]byte(dir))
	return Mark(MaxShims * (1 + h.Sum64()%markOwners))
}

// limit is what the mark's shim with this number, below MaxShims, lowers the
// limit to.
func (m Mark) limit(number int) uint64 { return markCeiling - uint64(m) - uint64(number) }

// setLimit gives the mark to this process and all that it will start. Where the
// limit is lower already there is no mark, and nothing to be found by it.
func setLimit(limit uint64) {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MSGQUEUE, &now); err != nil || now.Max < limit {
		return
	}
	_ = unix.Setrlimit(unix.RLIMIT_MSGQUEUE, &unix.Rlimit{Cur: limit, Max: limit})
}

// KillAll kills every process that any shim of the mark's owner started, and the
// shims, and returns how many. It is for the time before the first Start.
func (m Mark) KillAll() (int, error) {
	return killMarked(m.limit(MaxShims-1), m.limit(0))
}

// KillOne kills what the shim with this number, which is dead, left behind.
func (m Mark) KillOne(number int) (int, error) {
	return killMarked(m.limit(number), m.limit(number))
}

// killMarked kills the processes whose limit is between the two until none is
// left that it can kill.
func killMarked(least, most uint64) (killed int, err error) {
	const rounds = 100 // against processes that fork faster than they are found
	for range rounds {
		pids, err := marked(least, most)
		if err != nil {
			return killed, fmt.Errorf("find processes of a lost shim: %w", err)
		}
		n := 0
		for _, pid := range pids {
			if unix.Kill(pid, unix.SIGKILL) == nil {
				n++
			}
		}
		if n == 0 {
			return killed, nil
		}
		killed += n
		time.Sleep(time.Millisecond) // for the killed to go
	}
	return killed, errors.New("find processes of a lost shim: they do not end")
}

// marked lists the live processes with such a limit, this one excepted.
func marked(least, most uint64) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/limits")
		if err == nil && limitIn(b, least, most) && !isZombie(e.Name()) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// limitIn looks at the hard limit in the line "Max msgqueue size SOFT HARD bytes".
func limitIn(limits []byte, least, most uint64) bool {
	_, after, ok := bytes.Cut(limits, []byte("Max msgqueue size"))
	if !ok {
		return false
	}
	line, _, _ := bytes.Cut(after, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 2 {
		return false
	}
	v, err := strconv.ParseUint(string(fields[1]), 10, 64)
	return err == nil && least <= v && v <= most
}

func isZombie(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return true
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	return len(fields) > 0 && (fields[0][0] == 'Z' || fields[0][0] == 'X')
}
