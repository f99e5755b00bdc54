package shim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLost is wrapped by the errors of Run when the shim died or did not answer.
// The action may have run or not. The Process is of no more use.
var ErrLost = errors.New("the process that starts commands was lost")

// killPatience is how long a shim may take to kill an action before it is taken
// for lost itself.
const killPatience = 15 * time.Second

// Process is a running shim. It runs one command at a time.
type Process struct {
	conn   *net.UnixConn
	proc   *os.Process
	mark   Mark
	number int
	seq    uint32
	out    []byte
	in     [maxReply]byte
}

// Start executes this binary again as a shim, whose main must call MaybeRun.
// number, below MaxShims, tells shims with the same mark apart.
func Start(mark Mark, number int) (*Process, error) {
	return StartIsolated(mark, number, Isolation{})
}

// StartIsolated is Start with what the shim, and with it all its commands, is cut
// off from. The error says when the kernel does not allow it.
func StartIsolated(mark Mark, number int, isolation Isolation) (*Process, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "shim"), os.NewFile(uintptr(fds[1]), "shim")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("open connection to shim: %w", err)
	}
	args := []string{argv0, "", "", isolation.String()}
	if mark != 0 {
		l := mark.limits(number)
		args[1], args[2] = strconv.FormatUint(l.Cur, 10), strconv.FormatUint(l.Max, 10)
	}
	// A session of its own: the terminal's signals, and those sent to the node's
	// process group, must not reach it before it has cleaned up.
	proc, err := os.StartProcess("/proc/self/exe", args, &os.ProcAttr{
		Env:   []string{"GOMAXPROCS=1", "GOGC=50", "GOTRACEBACK=none"},
		Files: []*os.File{nil, nil, os.Stderr, theirs},
		Sys:   isolation.attributes(),
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start shim: %w", err), conn.Close())
	}
	return &Process{conn: conn.(*net.UnixConn), proc: proc, mark: mark, number: number}, nil
}

// Number returns the number that Start was given.
func (p *Process) Number() int { return p.number }

// PID returns the shim's process id.
func (p *Process) PID() int { return p.proc.Pid }

// Run starts a command and returns when all that it started is gone. When ctx
// ends it is killed, and the reply says Killed unless it had ended already. An
// error wraps ErrLost.
func (p *Process) Run(ctx context.Context, r Request) (Reply, error) {
	p.seq++
	p.out = endFrame(appendRequest(beginFrame(p.out[:0], frameRun, p.seq), r))
	if len(p.out) > maxFrame {
		return Reply{Errno: syscall.E2BIG}, nil
	}
	if _, err := p.conn.Write(p.out); err != nil {
		return Reply{}, p.lost(err)
	}
	if cap(p.out) > 64<<10 {
		p.out = nil // one huge command line must not stay for ever
	}
	asked := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(asked)
		p.kill()
	})
	reply, err := p.read()
	if !stop() {
		<-asked // so that it cannot hit the next command
		err = errors.Join(err, p.conn.SetReadDeadline(time.Time{}))
	}
	if err != nil {
		return Reply{}, p.lost(err)
	}
	return reply, nil
}

// kill asks for the end of what runs. A write does not block here: the socket
// holds far more than the little that is ever on its way.
func (p *Process) kill() {
	_ = p.conn.SetReadDeadline(time.Now().Add(killPatience))
	_, _ = p.conn.Write(endFrame(beginFrame(nil, frameKill, p.seq))) // Run notices a lost connection
}

// read returns the reply to the request of the current sequence number.
func (p *Process) read() (Reply, error) {
	n, root := 0, (*os.File)(nil)
	fail := func(err error) (Reply, error) {
		if root != nil {
			_ = root.Close()
		}
		return Reply{}, err
	}
	var rights [64]byte // room for one descriptor
	for {
		k, r, _, _, err := p.conn.ReadMsgUnix(p.in[n:], rights[:])
		if err == nil && k == 0 && r == 0 {
			err = io.EOF
		}
		if err == nil && r > 0 {
			root, err = descriptorIn(rights[:r])
		}
		if err != nil {
			return fail(err)
		}
		n += k
		if n < headerLen {
			continue
		}
		size := int(binary.LittleEndian.Uint32(p.in[:])) + 4
		if size < headerLen || size > len(p.in) || n > size {
			return fail(errFrame)
		}
		if n < size {
			continue
		}
		if p.in[4] != frameReply || binary.LittleEndian.Uint32(p.in[5:]) != p.seq {
			return fail(errFrame)
		}
		reply, err := decodeReply(p.in[headerLen:size])
		if err != nil {
			return fail(err)
		}
		reply.Root = root
		return reply, nil
	}
}

// descriptorIn takes the one descriptor out of a control message.
func descriptorIn(rights []byte) (*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, fmt.Errorf("parse control message: %w", err)
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil && len(fds) == 1 {
			return os.NewFile(uintptr(fds[0]), "root of a command"), nil
		}
	}
	return nil, errFrame
}

// lost ends a shim that cannot be trusted any more, and what it left.
func (p *Process) lost(cause error) error {
	if errors.Is(cause, io.EOF) {
		cause = errors.New("it closed the connection")
	}
	err := fmt.Errorf("%w: %w", ErrLost, cause)
	_ = p.proc.Kill()
	if state, waitErr := p.proc.Wait(); waitErr == nil {
		err = fmt.Errorf("%w (%s)", err, state)
	}
	if p.mark != 0 {
		n, killErr := p.mark.KillOne(p.number)
		if n > 0 {
			err = fmt.Errorf("%w; %d processes that it left were killed", err, n)
		}
		err = errors.Join(err, killErr)
	}
	_ = p.conn.Close()
	return err
}

// Close ends the shim, which must not be running a command, and waits for it.
func (p *Process) Close() error {
	err := p.conn.Close()
	if _, waitErr := p.proc.Wait(); waitErr != nil && !errors.Is(waitErr, os.ErrProcessDone) {
		err = errors.Join(err, fmt.Errorf("wait for shim: %w", waitErr))
	}
	return err
}
