package runners

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// socketProperty asks for a Unix socket at a path below the root, or the input
// root, that speaks the Remote Execution API to the grid which runs the action.
// BuildStream and buildbox have it.
const socketProperty = "remoteApisSocketPath"

// APIsFunc serves the Remote Execution API on the listener until that is closed.
// Then it ends what came by it and returns.
type APIsFunc func(l net.Listener)

// Socket is a Unix socket for a command.
type Socket struct {
	Host string // its absolute path on this machine
	// Path is where the command shall find it, clean and relative to its root
	// directory. It is not there already: the runner mounts it.
	Path string
}

// apisName is the socket in the directory of an action that has layers.
const apisName = "apis"

// apis is the socket of one action, being served.
type apis struct {
	listener *net.UnixListener
	ended    chan struct{}
	path     string
	mount    *Socket // for the runner; nil: the socket is where it belongs

	dir  int      // O_PATH, where the socket's file is; -1: not open
	base int      // with made: what those are relative to
	made []string // directories that are there for the socket alone
}

// openAPIs opens the socket that the action asks for; nil when it asks for none.
func (e *execution) openAPIs() (*apis, error) {
	asked, ok := e.lease.property(socketProperty)
	if !ok {
		return nil, nil
	}
	if e.w.apis == nil {
		return nil, Unfit("the platform property %s: this worker has no socket to give to actions", socketProperty)
	}
	clean, err := cleanPath("", strings.TrimPrefix(asked, "/"))
	if err == nil && clean == "" {
		err = errors.New("it names the root")
	}
	if err != nil {
		return nil, Unfit("the platform property %s: %v", socketProperty, err)
	}
	a := &apis{path: clean, dir: -1, base: e.root.fd, ended: make(chan struct{})}
	if err := a.listen(e); err != nil {
		a.remove()
		return nil, err
	}
	go func() {
		defer close(a.ended)
		e.w.apis(a.listener)
	}()
	return a, nil
}

func (l *Lease) property(name string) (string, bool) {
	for _, p := range l.Properties {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// listen makes the socket: in the input root, or, where the command sees more than
// that, beside it.
func (a *apis) listen(e *execution) (err error) {
	dir, name := splitPath(a.path)
	if layers := e.layout.layers; layers != nil {
		if layers.Lower != "" && exists(filepath.Join(layers.Lower, a.path)) {
			return a.taken()
		}
		a.mount = &Socket{Host: filepath.Join(layers.Scratch, apisName), Path: a.path}
		dir, name = "", apisName
	}
	if a.dir, err = a.makeDirs(dir); err != nil {
		return err
	}
	// The way by the descriptor is short, as it has to be, and nobody bends it.
	at := "/proc/self/fd/" + strconv.Itoa(a.dir) + "/" + name
	a.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if errors.Is(err, unix.EADDRINUSE) {
		return a.taken()
	}
	if err != nil {
		return fmt.Errorf("make socket for the action: %w", err)
	}
	if err := unix.Fchmodat(a.dir, name, 0o777, 0); err != nil {
		return fmt.Errorf("make socket for the action: %w", err)
	}
	return nil
}

func (a *apis) taken() error {
	return Unfit("the platform property %s: %q is in the input root already", socketProperty, a.path)
}

// makeDirs makes what is missing of a directory below base, and opens it.
func (a *apis) makeDirs(dir string) (int, error) {
	at := ""
	for name := range strings.SplitSeq(dir, "/") {
		at = path.Join(at, name)
		if at == "" {
			break
		}
		parent, err := openBeneath(a.base, path.Dir(at), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return -1, a.unusable(err)
		}
		err = unix.Mkdirat(parent, name, 0o755)
		unix.Close(parent)
		switch {
		case err == nil:
			a.made = append(a.made, at)
		case err != unix.EEXIST:
			return -1, a.unusable(err)
		}
	}
	fd, err := openBeneath(a.base, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, a.unusable(err)
	}
	return fd, nil
}

func (a *apis) unusable(err error) error {
	return Unfit("the platform property %s: no socket can be made at %q: %v", socketProperty, a.path, err)
}

// task is what the runner has to do; nil: nothing.
func (a *apis) task() *Socket {
	if a == nil {
		return nil
	}
	return a.mount
}

// close ends what is served, and leaves no trace of the socket among the outputs.
func (a *apis) close() {
	if a == nil {
		return
	}
	_ = a.listener.Close()
	<-a.ended
	a.remove()
}

func (a *apis) remove() {
	if a.listener != nil && a.mount == nil {
		_, name := splitPath(a.path)
		_ = unix.Unlinkat(a.dir, name, 0)
	}
	for i := len(a.made) - 1; i >= 0; i-- {
		removeDir(a.base, a.made[i])
	}
	if a.dir >= 0 {
		unix.Close(a.dir)
	}
}

// tidy removes the mount point that a runner made in the directory of outputs, and
// the directories that it made for it: those that lower lacks.
func (a *apis) tidy(root int, lower string) {
	if a == nil || a.mount == nil {
		return
	}
	dir, name := splitPath(a.path)
	parent, err := openBeneath(root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	var st unix.Stat_t
	err = unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == 0 {
		_ = unix.Unlinkat(parent, name, 0)
	}
	unix.Close(parent)
	for ; dir != "" && !(lower != "" && exists(filepath.Join(lower, dir))); dir, _ = splitPath(dir) {
		removeDir(root, dir)
	}
}

// removeDir removes a directory that is empty.
func removeDir(base int, rel string) {
	dir, name := splitPath(rel)
	parent, err := openBeneath(base, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	defer unix.Close(parent)
	_ = unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Forward is an APIsFunc for a server elsewhere: what comes by the listener goes to
// a connection that dial makes, byte by byte, and back.
func Forward(dial func() (net.Conn, error)) APIsFunc {
	return func(l net.Listener) {
		tracked := Track(l)
		for {
			in, err := tracked.Accept()
			if err != nil {
				tracked.CloseAll()
				return
			}
			out, err := dial()
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}
}
