package runnertest

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Tools are what the suite's scripts use.
var Tools = []string{
	"sh", "cat", "echo", "env", "grep", "head", "ls", "printf", "sleep", "setsid", "stat", "tail", "touch", "true", "wc", "chmod", "id", "mkdir", "rm", "ln", "mount", "mv", "umount", "unshare",
}

// RootFS is WriteRootFS for a test.
func RootFS(t testing.TB, dir string, programs ...string) {
	t.Helper()
	if err := WriteRootFS(dir, programs...); err != nil {
		t.Fatal(err)
	}
}

// WriteRootFS makes a root file system in dir from programs of the host, with the
// shared libraries that they need, and an empty /dev, /proc and /tmp.
func WriteRootFS(dir string, programs ...string) error {
	for _, d := range []string{"bin", "usr", "dev", "proc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink("../bin", filepath.Join(dir, "usr/bin")); err != nil {
		return err
	}
	done := map[string]bool{}
	for _, name := range programs {
		path, err := exec.LookPath(name)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err == nil {
			err = install(path, filepath.Join(dir, "bin", name))
		}
		if err != nil {
			return err
		}
		if err := libraries(path, dir, done); err != nil {
			return fmt.Errorf("libraries of %s: %w", name, err)
		}
	}
	return nil
}

// libraryDirs is where the dynamic loader of Debian and its kin looks.
var libraryDirs = []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"}

// libraries copies the loader and the libraries of a program, and theirs.
func libraries(path, dir string, done map[string]bool) error {
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b, err := io.ReadAll(p.Open())
			if err != nil {
				return err
			}
			if err := installOnce(string(b[:len(b)-1]), dir, done); err != nil {
				return err
			}
		}
	}
	needed, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, name := range needed {
		at := ""
		for _, d := range libraryDirs {
			if _, err := os.Stat(filepath.Join(d, name)); err == nil {
				at = filepath.Join(d, name)
				break
			}
		}
		if at == "" {
			return fmt.Errorf("%s is nowhere", name)
		}
		if done[at] {
			continue
		}
		if err := installOnce(at, dir, done); err != nil {
			return err
		}
		if err := libraries(at, dir, done); err != nil {
			return err
		}
	}
	return nil
}

func installOnce(path, dir string, done map[string]bool) error {
	if done[path] {
		return nil
	}
	done[path] = true
	return install(path, filepath.Join(dir, path))
}

func install(from, to string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
