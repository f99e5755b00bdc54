package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// What a data directory holds beside the stores.
const (
	lockFile    = "LOCK"    // locked while a process uses the directory; has its pid
	runningFile = "RUNNING" // there while a process runs: found at start, the last one died
	nodeIDFile  = "NODE_ID" // names the node for as long as the directory lives
	uncleanFile = "UNCLEAN" // how often the directory was found without a clean end
	versionFile = "FORMAT"  // of the directory
	formatNow   = "1\n"     // what versionFile holds
	dirMode     = 0o700     // the action cache is trusted: nobody else writes it
	fileMode    = 0o600
)

// dataDir is a data directory that this process has locked.
type dataDir struct {
	path    string
	lock    *os.File
	nodeID  string
	unclean int  // unclean ends so far
	crashed bool // the last process that used it did not end cleanly
}

// openDataDir creates what is missing, locks the directory, and notes that it is
// in use. Errors are for people: they say which directory and why.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, dirMode); err != nil {
		return nil, fmt.Errorf("create --data-dir: %w", plain(err))
	}
	d := &dataDir{path: path}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	if err := d.prepare(); err != nil {
		_ = d.lock.Close()
		return nil, err
	}
	return d, nil
}

// acquire takes the lock. The kernel frees it when the process ends, however it
// ends.
func (d *dataDir) acquire() error {
	f, err := os.OpenFile(d.file(lockFile), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return fmt.Errorf("use --data-dir: %w", plain(err))
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer func() { _ = f.Close() }()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		pid, _ := os.ReadFile(f.Name())
		return fmt.Errorf("--data-dir %s is in use by process %s: stop it, or choose another directory", d.path, strings.TrimSpace(string(pid)))
	}
	d.lock = f
	return nil
}

// prepare writes and reads the small files.
func (d *dataDir) prepare() error {
	if err := d.notePid(); err != nil {
		return err
	}
	if err := d.checkFormat(); err != nil {
		return err
	}
	if err := d.noteRunning(); err != nil {
		return err
	}
	id, err := d.readOrCreate(nodeIDFile, func() string { return uuid.NewString() + "\n" })
	if err != nil {
		return err
	}
	if d.nodeID = strings.TrimSpace(id); d.nodeID == "" {
		return fmt.Errorf("use --data-dir: %s is empty: remove it", d.file(nodeIDFile))
	}
	return nil
}

// notePid tells those who find the directory locked by whom.
func (d *dataDir) notePid() error {
	pid := fmt.Sprintf("%d\n", os.Getpid())
	if err := d.lock.Truncate(0); err != nil {
		return fmt.Errorf("use --data-dir: %w", plain(err))
	}
	if _, err := d.lock.WriteAt([]byte(pid), 0); err != nil {
		return fmt.Errorf("use --data-dir: %w", plain(err))
	}
	return nil
}

// checkFormat refuses a directory that a later version has written.
func (d *dataDir) checkFormat() error {
	have, err := d.readOrCreate(versionFile, func() string { return formatNow })
	if err != nil {
		return err
	}
	if have != formatNow {
		return fmt.Errorf("--data-dir %s has format %q, this version reads %q", d.path, strings.TrimSpace(have), strings.TrimSpace(formatNow))
	}
	return nil
}

// noteRunning leaves the mark that a clean end takes away, and counts the marks
// that were not.
func (d *dataDir) noteRunning() error {
	text, err := d.readOrCreate(uncleanFile, func() string { return "0\n" })
	if err != nil {
		return err
	}
	_, _ = fmt.Sscan(text, &d.unclean)
	if _, err := os.Stat(d.file(runningFile)); err == nil {
		d.crashed = true
		d.unclean++
		if err := d.write(uncleanFile, fmt.Sprintf("%d\n", d.unclean)); err != nil {
			return err
		}
	}
	return d.write(runningFile, fmt.Sprintf("%d\n", os.Getpid()))
}

// close ends the use of the directory cleanly.
func (d *dataDir) close() error {
	return errors.Join(os.Remove(d.file(runningFile)), d.unlock())
}

// unlock ends the use of the directory, and says nothing of how.
func (d *dataDir) unlock() error {
	// Unlocked by name: a process that is being started has the file open, too.
	return errors.Join(unix.Flock(int(d.lock.Fd()), unix.LOCK_UN), d.lock.Close())
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

func (d *dataDir) readOrCreate(name string, content func() string) (string, error) {
	data, err := os.ReadFile(d.file(name))
	if err == nil && len(data) > 0 {
		return string(data), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("use --data-dir: %w", plain(err))
	}
	text := content()
	return text, d.write(name, text)
}

// write replaces a small file in one step, so that a kill leaves the old or the
// new one.
func (d *dataDir) write(name, content string) error {
	f, err := os.CreateTemp(d.path, name+".tmp")
	if err != nil {
		return fmt.Errorf("use --data-dir: %w", plain(err))
	}
	_, err = f.WriteString(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), d.file(name))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("use --data-dir: %w", plain(err))
	}
	return nil
}

// plain says in full what the usual reasons of file errors mean here.
func plain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: the disk is full", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: choose another directory", err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: choose a directory that this user may write", err)
	}
	return err
}

// diskSize returns the size in bytes of the disk that holds path, and how much of it is free.
func diskSize(path string) (total, free int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, fmt.Errorf("look at the disk of %s: %w", path, err)
	}
	return int64(s.Blocks) * s.Bsize, int64(s.Bavail) * s.Bsize, nil
}
