// Package cli runs the real binary as users do: one testscript file, one story.
package cli

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

func TestMain(m *testing.M) { os.Exit(withBinary(m)) }

// withBinary builds the binary into a directory at the head of PATH.
func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bgrid-cli-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "bgrid-node"), "github.com/bgrid-node/bgrid-node/cmd/bgrid-node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as released: it runs in a chroot without libraries
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build bgrid-node:", err)
		return 1
	}
	if err := os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func TestCommandLine(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup:         setup,
		Condition:     condition,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"await":   await,
			"httpget": httpGet,
			"image":   image,
		},
	})
}

// setup gives each script ports of its own and settings that keep a node small.
func setup(e *testscript.Env) error {
	for _, name := range []string{"PORT", "HTTPPORT", "PORT2", "HTTPPORT2"} {
		port, err := freePort()
		if err != nil {
			return err
		}
		e.Setenv(name, port)
	}
	e.Setenv("BGRID_SERVER", "127.0.0.1:"+e.Getenv("PORT"))
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("BGRID_CAS_MAX_SIZE", "64MiB")
	e.Setenv("BGRID_SLOTS", "1")
	return nil
}

// freePort returns a port of the loopback address that was free a moment ago.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// condition adds [root], [mount]: may file systems be mounted here? and [userchroot]:
// may this user make namespaces?
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Geteuid() == 0, nil
	case "mount":
		return exec.Command("unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt").Run() == nil, nil
	case "userchroot":
		return exec.Command("unshare", "-Urm", "true").Run() == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}
