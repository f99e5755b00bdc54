package hosttools

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/runners"
)

func TestARootFileSystemIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		entry string // made in the input root
		link  bool
		args0 string
	}{
		"a shell":                     {entry: "bin/sh", args0: "/bin/true"},
		"env":                         {entry: "usr/bin/env", args0: "/bin/true"},
		"a dangling link as shell":    {entry: "bin/sh", link: true, args0: "/bin/true"},
		"the command's program in it": {entry: "opt/tool", args0: "/opt/tool"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, c.entry)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			err := os.WriteFile(path, nil, 0o755)
			if c.link {
				err = errors.Join(os.Remove(path), os.Symlink("busybox", path))
			}
			if err != nil {
				t.Fatal(err)
			}
			task := task(root, "touch ran")
			task.Args[0] = c.args0
			_, err = newRunner(t, "").Run(context.Background(), task)
			var failure *runners.Failure
			if !errors.As(err, &failure) || failure.Code != code.Code_FAILED_PRECONDITION {
				t.Errorf("error: %v", err)
			}
		})
	}
}
