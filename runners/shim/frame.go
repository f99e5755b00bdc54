package shim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Request is a command to start.
type Request struct {
	Path    string   // of the program: absolute, or relative to Dir
	Args    []string // Args[0] included
	Env     []string // complete
	Dir     string   // working directory, absolute
	Stdout  string   // absolute path, created or truncated; "" is /dev/null
	Stderr  string
	Timeout time.Duration // 0: none

	// Status opens a pipe for the command at StatusFD; what is written to it is
	// Reply.Note.
	Status bool
	// Spec, unless empty, is a file in memory that the command has at SpecFD.
	Spec []byte
	// Overlay is mounted while the command runs. The shim must have mounts of its
	// own.
	Overlay *Overlay
	// Namespaces are clone(2) flags of new namespaces for the command. A new user
	// namespace has one user and one group, the shim's, at InnerUser and InnerGroup.
	Namespaces            uintptr
	InnerUser, InnerGroup int
	Limits                Limits
}

// Descriptors of the command beyond the standard ones, see Request.
const (
	StatusFD = 3
	SpecFD   = 4
)

// Stage says what could not be done when Reply.Errno is set.
type Stage uint8

// The stages of starting a command.
const (
	StageExec   Stage = iota // fork, chdir and exec
	StageStdout              // opening Request.Stdout
	StageStderr
	StageMount // Request.Overlay; Reply.Note says more
)

// Reply tells how a command ended. All that it started is gone.
type Reply struct {
	Errno    syscall.Errno // not 0: the command was not started
	Stage    Stage         // with Errno
	Status   syscall.WaitStatus
	TimedOut bool
	Killed   bool // by Process.Run's context
	// OutputExceeded: killed for more stdout or stderr than Limits.Output.
	OutputExceeded bool
	// OutOfMemory is not the shim's to know: it is for those who hand the reply on.
	OutOfMemory bool
	Note        string // at most maxNote bytes: see Request.Status, and why Stage is StageMount
	// Root is the root directory of Request.Overlay, as the command left it, for
	// the receiver to close; nil without one.
	Root *os.File

	Started   int64 // nanoseconds of CLOCK_REALTIME
	Completed int64
	Left      int // processes that had to be killed after the command ended

	// Of the command and all that it started, however they ended.
	User, System                           time.Duration
	MaxRSS                                 int64 // bytes
	MinorFaults, MajorFaults               int64
	BlocksIn, BlocksOut                    int64 // of 512 bytes
	VoluntarySwitches, InvoluntarySwitches int64
}

// A frame is its length without these four bytes (uint32), its kind (byte), the
// sequence number of the request (uint32), and its payload.
const (
	frameRun   = 1
	frameKill  = 2
	frameReply = 3

	headerLen = 9
	// maxFrame bounds a request: the kernel's limit for arguments and environment
	// is 6 MiB (a quarter of the largest stack that counts), paths come on top.
	maxFrame = 32 << 20
	// maxNote and maxReply bound a reply.
	maxNote  = 3 << 10
	maxReply = 4 << 10
)

var errFrame = errors.New("malformed frame")

type frame struct {
	payload []byte // valid until the next read
	seq     uint32
	kind    byte
}

// beginFrame appends a header whose length endFrame fills in.
func beginFrame(b []byte, kind byte, seq uint32) []byte {
	b = append(b, 0, 0, 0, 0, kind)
	return binary.LittleEndian.AppendUint32(b, seq)
}

func endFrame(b []byte) []byte {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func appendRequest(b []byte, r Request) []byte {
	b = binary.AppendVarint(b, int64(r.Timeout))
	for _, v := range r.numbers() {
		b = binary.AppendVarint(b, *v)
	}
	for _, s := range [...]string{r.Path, r.Dir, r.Stdout, r.Stderr, string(r.Spec)} {
		b = appendString(b, s)
	}
	b = appendStrings(appendStrings(b, r.Args), r.Env)
	b = append(b, boolByte(r.Status), boolByte(r.Overlay != nil))
	if o := r.Overlay; o != nil {
		for _, s := range o.paths() {
			b = appendString(b, *s)
		}
		b = appendStrings(b, o.Dirs)
	}
	return b
}

func decodeRequest(b []byte) (r Request, err error) {
	d := decoder{b: b}
	r.Timeout = time.Duration(d.varint())
	var namespaces, user, group int64
	numbers := r.numbers()
	numbers[0], numbers[1], numbers[2] = &namespaces, &user, &group
	for _, v := range numbers {
		*v = d.varint()
	}
	r.Namespaces, r.InnerUser, r.InnerGroup = uintptr(namespaces), int(user), int(group)
	r.Path, r.Dir, r.Stdout, r.Stderr = d.string(), d.string(), d.string(), d.string()
	if spec := d.string(); spec != "" {
		r.Spec = []byte(spec)
	}
	r.Args, r.Env = d.strings(), d.strings()
	r.Status = d.byte() != 0
	if d.byte() != 0 {
		r.Overlay = &Overlay{}
		for _, s := range r.Overlay.paths() {
			*s = d.string()
		}
		r.Overlay.Dirs = d.strings()
	}
	return r, d.end()
}

// numbers lists the request's numbers in the order of the wire. The first three,
// which are not of this type, are copies.
func (r *Request) numbers() []*int64 {
	namespaces, user, group := int64(r.Namespaces), int64(r.InnerUser), int64(r.InnerGroup)
	l := &r.Limits
	return []*int64{&namespaces, &user, &group, &l.FileSize, &l.Output, &l.Processes, &l.Memory}
}

// fields lists the reply's numbers in the order of the wire, without Errno,
// Status and Left, which have types of their own.
func (r *Reply) fields() []*int64 {
	return []*int64{
		&r.Started, &r.Completed, (*int64)(&r.User), (*int64)(&r.System), &r.MaxRSS,
		&r.MinorFaults, &r.MajorFaults, &r.BlocksIn, &r.BlocksOut, &r.VoluntarySwitches, &r.InvoluntarySwitches,
	}
}

func appendReply(b []byte, r *Reply) []byte {
	b = binary.AppendVarint(b, int64(r.Errno))
	b = binary.AppendVarint(b, int64(r.Status))
	b = binary.AppendVarint(b, int64(r.Left))
	for _, v := range r.fields() {
		b = binary.AppendVarint(b, *v)
	}
	b = appendString(b, r.Note)
	return append(b, byte(r.Stage), boolByte(r.TimedOut), boolByte(r.Killed), boolByte(r.OutputExceeded))
}

func decodeReply(b []byte) (r Reply, err error) {
	d := decoder{b: b}
	r.Errno = syscall.Errno(d.varint())
	r.Status = syscall.WaitStatus(d.varint())
	r.Left = int(d.varint())
	for _, v := range r.fields() {
		*v = d.varint()
	}
	r.Note = d.string()
	r.Stage = Stage(d.byte())
	r.TimedOut, r.Killed, r.OutputExceeded = d.byte() != 0, d.byte() != 0, d.byte() != 0
	return r, d.end()
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// decoder reads what the functions above append; after the first error it gives
// zero values.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if !d.skip(n) {
		return 0
	}
	return v
}

func (d *decoder) count() int {
	v, n := binary.Uvarint(d.b)
	if !d.skip(n) || v > uint64(len(d.b)) {
		d.bad = true
		return 0
	}
	return int(v)
}

func (d *decoder) skip(n int) bool {
	if d.bad || n <= 0 || n > len(d.b) {
		d.bad = true
		return false
	}
	d.b = d.b[n:]
	return true
}

func (d *decoder) byte() byte {
	if d.bad || len(d.b) == 0 {
		d.bad = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) string() string {
	n := d.count()
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) strings() []string {
	list := make([]string, d.count())
	for i := range list {
		list[i] = d.string()
	}
	return list
}

func (d *decoder) end() error {
	if d.bad || len(d.b) != 0 {
		return errFrame
	}
	return nil
}

// readFrame blocks for the next frame. io.EOF: the node is gone.
func (s *server) readFrame() (frame, error) {
	for {
		f, ok, err := s.parseFrame()
		if ok || err != nil {
			return f, err
		}
		if err := s.fill(); err != nil {
			return frame{}, err
		}
	}
}

// parseFrame takes the next frame off the buffer if it is there in full.
func (s *server) parseFrame() (f frame, ok bool, err error) {
	b := s.in[s.taken:]
	if len(b) < headerLen {
		return f, false, nil
	}
	size := int(binary.LittleEndian.Uint32(b)) + 4
	if size < headerLen || size > maxFrame {
		return f, false, fmt.Errorf("%w: %d bytes", errFrame, size)
	}
	if len(b) < size {
		return f, false, nil
	}
	s.taken += size
	return frame{kind: b[4], seq: binary.LittleEndian.Uint32(b[5:]), payload: b[headerLen:size]}, true, nil
}

// fill reads once from the connection, after what was not taken yet.
func (s *server) fill() error {
	s.in = s.in[:copy(s.in, s.in[s.taken:])]
	s.taken = 0
	s.in = slices.Grow(s.in, 32<<10)
	for {
		n, err := unix.Read(s.conn, s.in[len(s.in):cap(s.in)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("read request: %w", err)
		case n == 0:
			return io.EOF
		}
		s.in = s.in[:len(s.in)+n]
		return nil
	}
}

// writeReply sends the reply, and with its first byte the root of the command's
// files when there is one.
func (s *server) writeReply(seq uint32, r Reply) error {
	s.out = endFrame(appendReply(beginFrame(s.out[:0], frameReply, seq), &r))
	var rights []byte
	if s.root > 0 {
		rights = unix.UnixRights(s.root)
		defer func(fd int) { unix.Close(fd) }(s.root)
		s.root = 0
	}
	for b := s.out; len(b) > 0; {
		n, err := unix.SendmsgN(s.conn, b, rights, nil, 0)
		rights = nil
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("write reply: %w", err)
		}
		b = b[n:]
	}
	return nil
}
