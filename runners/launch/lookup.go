package launch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/runners/shim"
)

// DefaultPath is searched when the command has no PATH. It is not put into the
// command's environment.
const DefaultPath = "/usr/local/bin:/usr/bin:/bin"

// View is the files that a command will see: Open opens a path for looking at it
// (O_PATH), an absolute one or one relative to the command's working directory,
// and returns a descriptor.
type View interface {
	Open(path string) (fd int, err error)
}

// Host is the view of a command that runs on the host, in the working directory
// that it names.
type Host string

// Open implements View.
func (cwd Host) Open(path string) (int, error) {
	if path == "" || path[0] != '/' {
		path = string(cwd) + "/" + path
	}
	return openPath(path)
}

// Inside is the view of a command whose root directory will be Root, which an
// action may have filled: links are followed inside.
type Inside struct {
	Root       string // absolute, on the host
	WorkingDir string // relative to Root
}

// Open implements View.
func (v Inside) Open(path string) (int, error) {
	root, err := openPath(v.Root)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	if path == "" || path[0] != '/' {
		path = "/" + v.WorkingDir + "/" + path
	}
	for {
		fd, err := unix.Openat2(root, path, &unix.OpenHow{
			Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

func openPath(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// LookPath finds the program (REAPI, Command.arguments): a name without a slash
// in the command's PATH, a relative path from the working directory, an absolute
// one as it is. The result is absolute or relative to the working directory.
func LookPath(v View, name string, env []string) (string, *Denial) {
	if strings.Contains(name, "/") {
		return name, executable(v, name)
	}
	var found *Denial
	path, _ := PathOf(env)
	for _, dir := range filepath.SplitList(path) {
		if dir == "" {
			dir = "."
		}
		candidate := dir + "/" + name
		denied := executable(v, candidate)
		if denied == nil {
			return candidate, nil
		}
		if denied.Code == notExecutable && found == nil {
			found = denied // and go on, as execvp(3) does
		}
	}
	if found == nil {
		found = &Denial{Code: notFound, Text: name + ": command not found"}
	}
	return "", found
}

// PathOf returns the command's PATH, or DefaultPath and false.
func PathOf(env []string) (path string, set bool) {
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			return value, true
		}
	}
	return DefaultPath, false
}

// executable tells why path is no program.
func executable(v View, path string) *Denial {
	fd, err := v.Open(path)
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		return &Denial{Code: notFound, Text: path + ": no such file"}
	case err != nil:
		return &Denial{Code: notExecutable, Text: fmt.Sprintf("%s: %v", path, err)}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	switch err := unix.Fstat(fd, &st); {
	case err != nil:
		return &Denial{Code: notExecutable, Text: fmt.Sprintf("%s: %v", path, err)}
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return &Denial{Code: notExecutable, Text: path + ": is a directory"}
	}
	if err := unix.Access(fmt.Sprint("/proc/self/fd/", fd), unix.X_OK); err != nil {
		return &Denial{Code: notExecutable, Text: fmt.Sprintf("%s: %v", path, err)}
	}
	return nil
}

// IsGarbage tells whether a program that LookPath found is one that the kernel
// cannot execute and that no shell could read: execvp(3) would hand it to one.
func IsGarbage(v View, path string) bool {
	at, err := v.Open(path)
	if err != nil {
		return false
	}
	defer unix.Close(at)
	head, ok := headOf(fmt.Sprint("/proc/self/fd/", at))
	if !ok || bytes.IndexByte(head, 0) < 0 || bytes.HasPrefix(head, []byte("#!")) {
		return false
	}
	const elf, headerSize, typeAt, executableType, sharedType = "\x7fELF", 52, 16, 2, 3
	if !bytes.HasPrefix(head, []byte(elf)) {
		return false // what binfmt_misc may know
	}
	if len(head) < headerSize {
		return true
	}
	kind := binary.NativeEndian.Uint16(head[typeAt:])
	return kind != executableType && kind != sharedType
}

// isText tells whether a file that the kernel does not know how to execute looks
// like a script: no zero byte near its beginning.
func isText(req shim.Request) bool {
	path := req.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(req.Dir, path)
	}
	return IsText(path)
}

// IsText tells whether a file has no zero byte near its beginning.
func IsText(path string) bool {
	head, ok := headOf(path)
	return ok && bytes.IndexByte(head, 0) < 0
}

func headOf(path string) ([]byte, bool) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	head := make([]byte, 256)
	n, err := io.ReadFull(f, head)
	return head[:n], err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
