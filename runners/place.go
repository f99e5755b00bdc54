package runners

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"golang.org/x/sys/unix"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// place holds the files that take a command's stdout and stderr. They are used
// again by the next command, which truncates them.
type place struct{ stdout, stderr *outputFile }

// share returns descriptors of the files for others to read. The files are never
// used again then.
func (p *place) share() (stdout, stderr *os.File, err error) {
	if stdout, err = p.stdout.share(); err != nil {
		return nil, nil, err
	}
	if stderr, err = p.stderr.share(); err != nil {
		_ = stdout.Close()
		return nil, nil, err
	}
	return stdout, stderr, nil
}

// takePlace returns a place with empty files.
func (w *Worker) takePlace() (*place, error) {
	var p *place
	select {
	case p = <-w.places:
		if p.stdout.untouched() && p.stderr.untouched() && p.stdout.empty() && p.stderr.empty() {
			return p, nil
		}
		p.close() // an action put something else there
	default:
	}
	return w.work.newPlace()
}

func (w *Worker) givePlace(p *place) {
	if p.stdout.shared || p.stderr.shared {
		p.close()
		return
	}
	select {
	case w.places <- p:
	default:
		p.close()
	}
}

func (d *workDir) newPlace() (p *place, err error) {
	p = &place{}
	base := filepath.Join(d.path, outputName, strconv.FormatInt(d.outputs.Add(1), 10))
	if p.stdout, err = newOutputFile(base + ".stdout"); err != nil {
		return nil, err
	}
	if p.stderr, err = newOutputFile(base + ".stderr"); err != nil {
		p.stdout.close()
		return nil, err
	}
	return p, nil
}

func (p *place) close() {
	p.stdout.close()
	p.stderr.close()
}

// outputFile is a file that commands write to and this process reads, through a
// descriptor of its own: whatever an action does to the path, what is read is
// what was written to that command's stdout.
type outputFile struct {
	path string
	fd   int
	made unix.Stat_t
	// shared: somebody else reads it, too. It must not be shortened any more.
	shared bool
}

func newOutputFile(path string) (*outputFile, error) {
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make file for a command's output: %w", pathError("create", path, err))
	}
	f := &outputFile{path: path, fd: fd}
	if err := unix.Fstat(fd, &f.made); err != nil {
		f.close()
		return nil, fmt.Errorf("make file for a command's output: %w", err)
	}
	return f, nil
}

func (f *outputFile) close() {
	unix.Close(f.fd)
	_ = unix.Unlink(f.path)
}

// untouched tells whether the file is still at its path, and there alone, as it
// was made: an action could have linked, moved or replaced it.
func (f *outputFile) untouched() bool {
	var st unix.Stat_t
	err := unix.Lstat(f.path, &st)
	return err == nil && st.Dev == f.made.Dev && st.Ino == f.made.Ino && st.Mode == f.made.Mode && st.Uid == f.made.Uid && st.Nlink == 1
}

// empty makes the file empty: what reads it while it grows must not see what an
// earlier command wrote, however long the next one takes to truncate it.
func (f *outputFile) empty() bool {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return false
	}
	return st.Size == 0 || unix.Ftruncate(f.fd, 0) == nil
}

func (f *outputFile) share() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("share file of a command's output: %w", err)
	}
	f.shared = true
	return os.NewFile(uintptr(fd), f.path), nil
}

// store stores what was written, with the notes at its end, and empties the file
// when it takes much space.
func (f *outputFile) store(ctx context.Context, up *uploader, notes []string) (*repb.Digest, error) {
	if len(notes) > 0 {
		text := "bgrid-node: " + strings.Join(notes, "\nbgrid-node: ") + "\n"
		if err := f.append([]byte(text)); err != nil {
			return nil, err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return nil, fmt.Errorf("stat: %w", err)
	}
	if st.Size == 0 {
		return up.function.Empty().Proto(), nil
	}
	d, err := f.upload(ctx, up, st.Size)
	const keep = 1 << 20
	if st.Size > keep && !f.shared {
		_ = unix.Ftruncate(f.fd, 0) // the next command does it as well
	}
	return d.Proto(), err
}

func (f *outputFile) append(text []byte) error {
	end, err := unix.Seek(f.fd, 0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("seek: %w", err)
	}
	// On a line of its own.
	last := []byte{'\n'}
	if end > 0 {
		if _, err := unix.Pread(f.fd, last, end-1); err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	if last[0] != '\n' {
		text = append([]byte{'\n'}, text...)
	}
	return writeAll(f.fd, text)
}

func (f *outputFile) upload(ctx context.Context, up *uploader, size int64) (digest.Digest, error) {
	if size > up.left {
		return digest.Digest{}, up.spend(size)
	}
	if size > MaxSmallBlob {
		return up.stream(ctx, f.fd, filepath.Base(f.path))
	}
	data := make([]byte, size)
	n, err := fdReaderAt(f.fd).ReadAt(data, 0)
	if err != nil && err != io.EOF {
		return digest.Digest{}, err
	}
	data = data[:n:n]
	d := digest.Of(up.function, data)
	return d, up.data(ctx, d, data)
}
