package cas

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// createMapped makes a file of n bytes, its space allocated (so that writing to
// the mapping cannot meet a full disk), and maps it for writing.
func createMapped(path string, n int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := allocate(f, int64(n)); err != nil {
		return nil, fmt.Errorf("allocate %s: %w", path, err)
	}
	return unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// allocate gives f n bytes of disk space. Where the file system cannot, zeros
// are written.
func allocate(f *os.File, n int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, n)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	zeros := make([]byte, 64<<10)
	for at := int64(0); at < n; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), n-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// openMapped maps an existing file, which must not be empty.
func openMapped(path string, writable bool) ([]byte, error) {
	flag, prot := os.O_RDONLY, unix.PROT_READ
	if writable {
		flag, prot = os.O_RDWR, unix.PROT_READ|unix.PROT_WRITE
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 || info.Size() > 1<<40 {
		return nil, fmt.Errorf("map %s: it has %d bytes", path, info.Size())
	}
	return unix.Mmap(int(f.Fd()), 0, int(info.Size()), prot, unix.MAP_SHARED)
}

func unmap(data []byte) {
	if data != nil {
		_ = unix.Munmap(data)
	}
}

// syncFile makes the file's content durable, through a descriptor of its own: no
// lock of whoever writes it is taken. A file that is gone needs nothing.
func syncFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// syncDir makes the directory's entries durable.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// writeMarker makes an empty file durable.
func writeMarker(dir, name string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncDir(dir)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// diskUse returns the bytes that the files under path take on the disk. Files
// that vanish while it looks count nothing.
func diskUse(path string) int64 {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0
	}
	total := st.Blocks * 512
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return total
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return total
	}
	for _, e := range entries {
		total += diskUse(filepath.Join(path, e.Name()))
	}
	return total
}
