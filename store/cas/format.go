package cas

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The store's directory says in which format it is. Format 1, of development
// builds, kept all bytes in Badger and had no such file.
const (
	formatName = "FORMAT"
	format     = "bgrid-node content-addressable storage, format 2\n"
)

// checkFormat refuses a directory in another format, and marks a new one.
func checkFormat(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, formatName))
	switch {
	case err == nil && string(have) == format:
		return nil
	case err == nil && len(have) > 0:
		return fmt.Errorf("its format is %q, this program knows %q: use the program that wrote it, or another directory",
			firstLine(have), strings.TrimSpace(format))
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "gen-*"))
	if err != nil {
		return err
	}
	if len(old) > 0 {
		return fmt.Errorf("it was written by a development build (format 1), which this program does not read: delete it")
	}
	return writeFormat(dir)
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b[:min(len(b), 100)]), "\n")
	return line
}

// writeFormat makes the file durable before anything else is in the directory.
func writeFormat(dir string) error {
	path := filepath.Join(dir, formatName)
	if err := os.WriteFile(path+".new", []byte(format), 0o644); err != nil {
		return err
	}
	if err := syncFile(path + ".new"); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(dir)
}
