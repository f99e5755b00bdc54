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
// that all its descendants inherit, that shows in /proc/PID/limits, and that
// nothing else cares for: the limits of bytes in POSIX message queues. The hard
// one, which cannot be raised again, is lowered from the kernel's 819200 by a
// number that stands for the owner and the shim, the soft one to a second number
// that stands for the owner, so that two owners on one machine hardly ever share
// a mark. Whoever has lost a shim kills what carries its mark.

const (
	markCeiling = 819200 // the kernel's default of RLIMIT_MSGQUEUE
	markBlocks  = 400
	softFloor   = 200_000 // room for queues of the default size
	softValues  = 200_000 // and below every hard limit
	// MaxShims bounds the shims that one owner may have at a time.
	MaxShims = 1 << 10
)

// Mark stands for the owner of shims. The zero Mark marks nothing.
type Mark uint64

// MarkFor returns the mark of the owner of dir.
func MarkFor(dir string) Mark {
	h := fnv.New64a()
	h.Write([]byte(dir))
	return Mark(max(1, h.Sum64()))
}

// limits is what the mark's shim with this number, below MaxShims, lowers its
// limits to.
func (m Mark) limits(number int) unix.Rlimit {
	return unix.Rlimit{
		Cur: softFloor + uint64(m)/markBlocks%softValues,
		Max: markCeiling - MaxShims*(1+uint64(m)%markBlocks) - uint64(number),
	}
}

// setLimits gives the mark to this process and all that it will start. Where the
// limit is lower already there is no mark, and nothing to be found by it.
func setLimits(l unix.Rlimit) {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MSGQUEUE, &now); err != nil || now.Max < l.Max {
		return
	}
	_ = unix.Setrlimit(unix.RLIMIT_MSGQUEUE, &l)
}

// KillAll kills every process that any shim of the mark's owner started, and the
// shims, and returns how many. It is for the time before the first Start.
func (m Mark) KillAll() (int, error) { return killMarked(m.limits(MaxShims-1), m.limits(0)) }

// KillOne kills what the shim with this number, which is dead, left behind.
func (m Mark) KillOne(number int) (int, error) {
	return killMarked(m.limits(number), m.limits(number))
}

// killMarked kills the processes whose limits are between the two until none is
// left that it can kill.
func killMarked(least, most unix.Rlimit) (killed int, err error) {
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

// marked lists the live processes with such limits, this one excepted.
func marked(least, most unix.Rlimit) ([]int, error) {
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
		if err == nil && limitsIn(b, least, most) && !isZombie(e.Name()) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// limitsIn looks at the line "Max msgqueue size SOFT HARD bytes".
func limitsIn(limits []byte, least, most unix.Rlimit) bool {
	_, after, ok := bytes.Cut(limits, []byte("Max msgqueue size"))
	if !ok {
		return false
	}
	line, _, _ := bytes.Cut(after, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 2 {
		return false
	}
	soft, err := strconv.ParseUint(string(fields[0]), 10, 64)
	if err != nil || soft < least.Cur || soft > most.Cur {
		return false
	}
	hard, err := strconv.ParseUint(string(fields[1]), 10, 64)
	return err == nil && least.Max <= hard && hard <= most.Max
}

func isZombie(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return true
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	return len(fields) > 0 && (fields[0][0] == 'Z' || fields[0][0] == 'X')
}
