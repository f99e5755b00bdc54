// Package shim starts the commands of actions from a small process of its own,
// and makes sure that nothing which they started outlives them.
//
// The shim is the same binary, executed again: main calls MaybeRun before
// anything else. One shim serves one action at a time, for as long as its node
// lives. It is a child subreaper, so orphans of an action, double-forked daemons
// included, become its children, and it kills and reaps all of them before it
// answers. When the connection to the node closes, because the node was killed,
// the shim kills what runs and exits.
//
// The shim is single-threaded by design: one goroutine locked to its thread
// waits in poll(2) for the command, the connection and the time-out alike. That
// keeps an action at one message each way and a handful of system calls.
package shim

import (
	"errors"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/runners/cgroup"
)

const (
	// argv0 marks a process as a shim. It is also what ps(1) shows, and no prefix
	// of the node's own name: who kills the node by name lets the shims clean up.
	argv0 = "bgrid-shim"
	// connFD is the shim's end of the socket pair.
	connFD = 3
)

// MaybeRun turns this process into a shim if it was started as one, and then
// never returns. Otherwise it returns at once. Every binary that starts shims
// calls it first thing in main (tests: in TestMain).
func MaybeRun() {
	if len(os.Args) != 4 || os.Args[0] != argv0 {
		return
	}
	runtime.LockOSThread()
	s := server{conn: connFD}
	if err := s.prepare(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		os.Stderr.WriteString(argv0 + ": " + err.Error() + "\n")
		os.Exit(1)
	}
	s.serve()
	cgroup.Leave()
	os.Exit(0)
}

// server is the shim's side of the connection.
type server struct {
	conn  int    // socket, blocking
	in    []byte // what was read of it; reused
	taken int    // how much of in was taken as frames already
	out   []byte // of the reply; reused
	root  int    // the file system that the command saw, for the reply; 0: none
}

// serve answers requests until the node goes away.
func (s *server) serve() {
	for {
		f, err := s.readFrame()
		if err != nil {
			return
		}
		if f.kind != frameRun {
			continue // a kill that came after its command had ended
		}
		req, err := decodeRequest(f.payload)
		if err != nil {
			return // not the same binary: nothing sensible can follow
		}
		reply, alive := s.run(f.seq, req)
		if !alive || s.writeReply(f.seq, reply) != nil {
			return
		}
	}
}

// run executes one command and ends all that it leaves behind. alive is false
// when the node went away meanwhile.
func (s *server) run(seq uint32, req Request) (reply Reply, alive bool) {
	if req.Overlay != nil {
		var err error
		if s.root, err = req.Overlay.mount(); err != nil {
			reply.Errno, reply.Stage, reply.Note = errnoOf(err), StageMount, clip(err.Error())
			return reply, true
		}
		defer req.Overlay.unmount()
	}
	c, stage, err := start(req)
	if err != nil {
		reply.Errno, reply.Stage = errnoOf(err), stage
		killDescendants(&reply) // nothing, unless something odd happened
		return reply, true
	}
	reply.Started = c.started
	alive = s.await(seq, c, &reply)
	c.finish(&reply)
	return reply, alive
}

// await returns when the command's first process ended, or was killed because
// the node asked for it, went away, or the time-out passed.
func (s *server) await(seq uint32, c *command, reply *Reply) (alive bool) {
	fds := []unix.PollFd{
		{Fd: int32(c.pidfd), Events: unix.POLLIN},
		{Fd: int32(s.conn), Events: unix.POLLIN},
	}
	for {
		// What follows the request may have come with it.
		for {
			f, ok, err := s.parseFrame()
			if err != nil {
				c.kill()
				return false
			}
			if !ok {
				break
			}
			if f.kind == frameKill && f.seq == seq {
				reply.Killed = true
				c.kill()
			}
		}
		n, err := unix.Poll(fds, c.pollTimeout())
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			c.kill()
			return true
		}
		if n == 0 {
			c.reapOrphans(reply)
			if c.talksTooMuch() {
				reply.OutputExceeded = true
				c.kill()
			}
		}
		if n == 0 && c.overdue() {
			reply.TimedOut = true
			c.kill()
		}
		if fds[0].Revents != 0 {
			return true
		}
		if fds[1].Revents != 0 && s.fill() != nil {
			c.kill()
			return false
		}
	}
}

func errnoOf(err error) syscall.Errno {
	if e, ok := errors.AsType[syscall.Errno](err); ok && e != 0 {
		return e
	}
	return syscall.EINVAL
}
