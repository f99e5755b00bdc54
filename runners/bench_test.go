package runners_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/bgrid-node/bgrid-node/runners"
)

// BenchmarkAction executes unique actions, `cp in out`, on two slots with eight
// waiting; BenchmarkBareAction is its floor: directory, input, fork and exec, and
// a hash of the output, on two threads.
func BenchmarkAction(b *testing.B) {
	w := start(b, nil)
	cmd := &repb.Command{
		Arguments:            []string{"cp", "in", "out"},
		EnvironmentVariables: []*repb.Command_EnvironmentVariable{{Name: "PATH", Value: "/usr/bin:/bin"}},
		OutputPaths:          []string{"out"},
	}
	leases := make([]*runners.Lease, b.N)
	for i := range leases {
		in := fmt.Sprintf("input %d of %d\n", i, b.N)
		leases[i] = w.lease(cmd, w.message(&repb.Directory{Files: []*repb.FileNode{w.file("in", in)}}))
		leases[i].ActionBytes, _ = w.blobs.get(leases[i].Action)
	}
	b.ResetTimer()
	waiting := make(chan struct{}, 8)
	go func() {
		for _, l := range leases {
			waiting <- struct{}{}
			w.assign(l)
		}
	}()
	for range leases {
		if c := w.completion(); c.Status != nil || c.Result.ExitCode != 0 || len(c.Result.OutputFiles) != 1 {
			b.Fatal(c.Status, c.Result)
		}
		<-waiting
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "actions/s")
}

func BenchmarkBareAction(b *testing.B) {
	dir := b.TempDir()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := next.Add(1); int(i) <= b.N; i = next.Add(1) {
				if err := bareAction(filepath.Join(dir, fmt.Sprint(i))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "actions/s")
}

func bareAction(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "in"), []byte("input of "+dir), 0o600); err != nil {
		return err
	}
	pid, err := syscall.ForkExec("/bin/cp", []string{"cp", "in", "out"}, &syscall.ProcAttr{Dir: dir, Files: []uintptr{0, 1, 2}})
	if err != nil {
		return err
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || status.ExitStatus() != 0 {
		return fmt.Errorf("cp: status %d: %w", status.ExitStatus(), err)
	}
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	sha256.Sum256(out)
	return err
}
