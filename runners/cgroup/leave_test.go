package cgroup

import (
	"os"
	"os/exec"
	"testing"
)

const leaveArg = "leave-the-group"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == leaveArg {
		_, _ = os.Stdin.Read(make([]byte, 1)) // until it is in the group
		Leave()
		return
	}
	os.Exit(m.Run())
}

func TestWhoLeavesRemovesTheGroup(t *testing.T) {
	m, err := Find()
	if err != nil {
		t.Logf("this machine has none: %v", err)
		return
	}
	g, err := m.Group("leave")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", leaveArg)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	for _, dir := range g.distinct() {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
			_ = os.Remove(dir)
		}
	}
}
