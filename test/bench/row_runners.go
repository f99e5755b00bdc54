package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"

	"github.com/bgrid-node/bgrid-node/runners/runnertest"
)

// waiting is how many actions wait in the rows of the runners, with a slot a core.
const waiting = 32

// commits is how many synced commits an action takes.
const commits = 2

// runnerRows execute unique actions under each runner. The floor of hosttools is
// bare fork and exec, that of the others a bare bwrap with the same namespaces; in
// that of userchroot the chroot is the root directory. Each action of a floor also
// syncs as often as the node commits for one: when it is queued and when it ends.
func runnerRows() []row {
	var rows []row
	for _, runner := range []string{"hosttools", "bubblewrap", "userchroot"} {
		rows = append(rows, row{
			name: fmt.Sprintf("unique actions (cp), %d waiting, %s", waiting, runner), unit: "actions/s", target: 0.5,
			prepare: func(ctx context.Context, b *bench) (floor, product measurement, err error) {
				return prepareRunner(ctx, b, runner)
			},
		})
	}
	return rows
}

func prepareRunner(ctx context.Context, b *bench, runner string) (floor, product measurement, err error) {
	_, node, err := b.connectBoth(ctx)
	if err != nil {
		return nil, nil, err
	}
	var properties []*repb.Platform_Property
	chroot := filepath.Join(b.work, "chroot")
	if runner == "userchroot" {
		if err := runnertest.WriteRootFS(chroot, "cp"); err != nil {
			return nil, nil, fmt.Errorf("make a chroot: %w", err)
		}
		root, err := uploadTree(ctx, node[0], chroot)
		if err != nil {
			return nil, nil, fmt.Errorf("upload a chroot: %w", err)
		}
		properties = append(properties, &repb.Platform_Property{Name: "chrootRootDigest", Value: fmt.Sprintf("%s/%d", root.Hash, root.SizeBytes)})
	}
	product = func(ctx context.Context) (float64, error) {
		most := int(b.duration.Seconds()*3000) + 1000
		actions, err := uploadActions(ctx, node[0], runner, most, properties...)
		if err != nil {
			return 0, err
		}
		var next atomic.Int64
		return node.drive(ctx, b.duration, waiting, func(ctx context.Context, conn *grpc.ClientConn, _ int) (float64, error) {
			i := int(next.Add(1)) - 1
			if i >= len(actions) {
				return 0, errNoMore
			}
			return 1, executeFresh(ctx, conn, actions[i])
		})
	}
	return func(ctx context.Context) (float64, error) { return b.bareRunner(ctx, runner, chroot) }, product, nil
}

func (b *bench) bareRunner(ctx context.Context, runner, chroot string) (float64, error) {
	if runner == "hosttools" {
		return b.bare(ctx, commits, nil)
	}
	bwrap, err := exec.LookPath("bwrap")
	if err != nil {
		return 0, err
	}
	return b.bare(ctx, commits, func(dir string) []string {
		args := []string{bwrap, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--die-with-parent", "--new-session"}
		if runner == "userchroot" {
			args = append(args, "--ro-bind", chroot, "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp")
		} else {
			args = append(args, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp")
		}
		return append(args, "--bind", dir, "/tmp/w", "--chdir", "/tmp/w", "--")
	})
}

// uploadTree stores a directory of this machine.
func uploadTree(ctx context.Context, conn *grpc.ClientConn, dir string) (*repb.Digest, error) {
	up := uploader{conn: conn}
	root, err := up.tree(ctx, dir)
	if err != nil {
		return nil, err
	}
	return root, up.flush(ctx)
}

func (u *uploader) tree(ctx context.Context, dir string) (*repb.Digest, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	m := &repb.Directory{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			d, err := u.tree(ctx, path)
			if err != nil {
				return nil, err
			}
			m.Directories = append(m.Directories, &repb.DirectoryNode{Name: e.Name(), Digest: d})
		case e.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return nil, err
			}
			m.Symlinks = append(m.Symlinks, &repb.SymlinkNode{Name: e.Name(), Target: target})
		default:
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			d, err := u.blob(ctx, data)
			if err != nil {
				return nil, err
			}
			m.Files = append(m.Files, &repb.FileNode{Name: e.Name(), Digest: d, IsExecutable: true})
		}
	}
	return u.message(ctx, m)
}
