package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// bareActions is the floor of a real action: one goroutine a core makes a
// directory, writes the input, forks and executes cp, waits for it, hashes the
// output and removes the directory.
func (b *bench) bareActions(ctx context.Context) (float64, error) { return b.bare(ctx, 0, nil) }

// bare is bareActions with a number of synced appends for each action, behind a
// launcher, whose program and arguments are given for the directory of the action.
func (b *bench) bare(ctx context.Context, syncs int, launcher func(dir string) []string) (float64, error) {
	dir := filepath.Join(b.work, "bare")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	program := "/usr/bin/cp"
	if _, err := os.Stat(program); err != nil {
		program = "/bin/cp"
	}
	var (
		wg    sync.WaitGroup
		done  atomic.Int64
		began = time.Now()
		fails = make([]error, runtime.NumCPU())
	)
	for core := range fails {
		wg.Go(func() {
			log, err := os.Create(filepath.Join(dir, fmt.Sprintf("log-%d", core)))
			if err != nil {
				fails[core] = err
				return
			}
			defer log.Close()
			for i := 0; time.Since(began) < b.duration && ctx.Err() == nil; i++ {
				err := bareAction(program, launcher, filepath.Join(dir, fmt.Sprintf("%d-%d", core, i)))
				if err = errors.Join(err, appendSynced(log, syncs)); err != nil {
					fails[core] = err
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(began).Seconds(), errors.Join(fails...)
}

// appendSynced does what a commit cannot do without, so many times.
func appendSynced(log *os.File, times int) error {
	record := make([]byte, 1<<10)
	for range times {
		if _, err := log.Write(record); err != nil {
			return err
		}
		if err := log.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func bareAction(program string, launcher func(dir string) []string, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "in"), []byte("input of "+dir), 0o600); err != nil {
		return err
	}
	args := []string{"cp", "in", "out"}
	if launcher != nil {
		args = append(launcher(dir), program, "in", "out")
		program = args[0]
	}
	pid, err := syscall.ForkExec(program, args, &syscall.ProcAttr{Dir: dir, Files: []uintptr{0, 1, 2}})
	if err != nil {
		return fmt.Errorf("start cp: %w", err)
	}
	var status syscall.WaitStatus
	for {
		if _, err = syscall.Wait4(pid, &status, 0, nil); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil || status.ExitStatus() != 0 {
		return fmt.Errorf("cp ended with status %d: %w", status.ExitStatus(), err)
	}
	f, err := os.Open(filepath.Join(dir, "out"))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(sha256.New(), f)
	return err
}
