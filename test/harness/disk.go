package harness

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// DiskUse returns the bytes that files beneath dir take on disk. Files that
// vanish meanwhile count as nothing.
func DiskUse(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			sum += stat.Blocks * 512
		}
		return nil
	})
	return sum, err
}
