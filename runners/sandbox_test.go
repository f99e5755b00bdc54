package runners_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/bubblewrap"
	"github.com/bgrid-node/bgrid-node/runners/runnertest"
	"github.com/bgrid-node/bgrid-node/runners/userchroot"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// startSandboxed starts a worker with the sandboxed runners.
func startSandboxed(t *testing.T) *bench {
	t.Helper()
	return startSandboxedWith(t, func(*runners.WorkerOptions) {})
}

// startSandboxedWith is startSandboxed with changed options.
func startSandboxedWith(t *testing.T, change func(*runners.WorkerOptions)) *bench {
	t.Helper()
	dir := t.TempDir()
	bwrap, err := bubblewrap.New(bubblewrap.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	chroot, err := userchroot.New(userchroot.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, func(o *runners.WorkerOptions) {
		o.Dir, o.Runners, o.TreeBytes = dir, append(o.Runners, bwrap, chroot), 1<<30
		change(o)
	})
	t.Cleanup(func() { // after the worker's end
		b.kill()
		<-b.stopped
		if err := errors.Join(bwrap.Close(), chroot.Close()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// upload stores a directory of this machine and returns its digest.
func (b *bench) upload(dir string) digest.Digest {
	b.t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	m := &repb.Directory{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			m.Directories = append(m.Directories, &repb.DirectoryNode{Name: e.Name(), Digest: b.upload(path).Proto()})
		case e.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				b.t.Fatal(err)
			}
			m.Symlinks = append(m.Symlinks, &repb.SymlinkNode{Name: e.Name(), Target: target})
		default:
			data, err := os.ReadFile(path)
			if err != nil {
				b.t.Fatal(err)
			}
			m.Files = append(m.Files, &repb.FileNode{Name: e.Name(), Digest: b.blobs.put(data).Proto(), IsExecutable: true})
		}
	}
	return b.message(m)
}

func (b *bench) rootFS() digest.Digest {
	dir := b.t.TempDir()
	runnertest.RootFS(b.t, dir, runnertest.Tools...)
	if err := os.WriteFile(filepath.Join(dir, "bin/data"), []byte("shared\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
	return b.upload(dir)
}

// inRunner makes a lease for a runner.
func (b *bench) inRunner(runner string, cmd *repb.Command, root digest.Digest, properties ...runners.Property) *runners.Lease {
	l := b.lease(cmd, root)
	l.Properties = append(properties, runners.Property{Name: "runner", Value: runner})
	return l
}

// stdout runs a lease that must end well.
func (b *bench) stdout(l *runners.Lease) (string, *repb.ActionResult) {
	b.t.Helper()
	c := b.run(l)
	if c.Status != nil || c.Result.ExitCode != 0 {
		text := ""
		if c.Result != nil {
			text = b.text(c.Result.StderrDigest)
		}
		b.t.Fatalf("status %v, exit code %d, stderr %q", c.Status, c.Result.GetExitCode(), text)
	}
	return b.text(c.Result.StdoutDigest), c.Result
}

func chrootOf(d digest.Digest) runners.Property {
	return runners.Property{Name: "chrootRootDigest", Value: d.String()}
}

func TestAnActionRunsInTheChrootThatItNames(t *testing.T) {
	b := startSandboxed(t)
	chroot := b.rootFS()
	src := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("in.c", "int x;\n")}})
	home := b.message(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "src", Digest: src.Proto()}}})
	root := b.message(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "home", Digest: home.Proto()}}})
	cmd := sh(`id -u; cat ../src/in.c; cat ../src/in.c >made.o; mkdir -p deep && echo d >deep/f
		for f in /x /bin/x /bin/cat /usr/x; do (: >$f) 2>/dev/null && echo "wrote $f"; done
		: >/home/src/own && : >/tmp/own && echo done`, "made.o", "deep")
	cmd.WorkingDirectory = "home/build"
	for range 2 {
		out, result := b.stdout(b.inRunner("userchroot", cmd, root, chrootOf(chroot)))
		if want := "0\nint x;\ndone\n"; out != want {
			t.Errorf("stdout %q, want %q", out, want)
		}
		if len(result.OutputFiles) != 1 || b.text(result.OutputFiles[0].Digest) != "int x;\n" || len(result.OutputDirectories) != 1 {
			t.Errorf("outputs: %v", result)
		}
	}
}

func TestOutputsInTheRootOfAChroot(t *testing.T) {
	b := startSandboxed(t)
	chroot := b.rootFS()
	root := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("in", "in\n")}})
	cmd := sh(`cat in >out; for f in /bin/x /usr/x; do (: >$f) 2>/dev/null && echo "wrote $f"; done; echo done`, "out")
	out, result := b.stdout(b.inRunner("userchroot", cmd, root, chrootOf(chroot)))
	if out != "done\n" || len(result.OutputFiles) != 1 || b.text(result.OutputFiles[0].Digest) != "in\n" {
		t.Errorf("stdout %q, %v", out, result)
	}
}

func TestAChrootThatIsNotThere(t *testing.T) {
	b := startSandboxed(t)
	lost := digest.Of(digest.SHA256, []byte("lost"))
	c := b.run(b.inRunner("userchroot", sh("true"), noInputs, chrootOf(lost)))
	if c.Status.GetCode() != int32(code.Code_FAILED_PRECONDITION) || len(c.Status.Details) != 1 || !strings.Contains(c.Status.Message, lost.String()) {
		t.Errorf("status %v", c.Status)
	}
	c = b.run(b.inRunner("userchroot", sh("true"), noInputs))
	if c.Status.GetCode() != int32(code.Code_FAILED_PRECONDITION) || !strings.Contains(c.Status.Message, "chrootRootDigest") {
		t.Errorf("without one: status %v", c.Status)
	}
	file := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("bin", "a file")}})
	c = b.run(b.inRunner("userchroot", sh("true"), file, chrootOf(b.rootFS())))
	if c.Status.GetCode() != int32(code.Code_FAILED_PRECONDITION) || !strings.Contains(c.Status.Message, `"bin"`) {
		t.Errorf("an input root that does not fit: status %v", c.Status)
	}
}

func TestARootFileSystemIsSharedAndNeverChanged(t *testing.T) {
	b := startSandboxed(t)
	root := b.rootFS()
	change := sh(`cat bin/data; echo changed >bin/data; rm bin/wc; : >new; mkdir -p out; cp_ok=1; echo o >out/f`, "out", "bin/data")
	for range 2 {
		out, result := b.stdout(b.inRunner("bubblewrap", change, root))
		if out != "shared\n" {
			t.Errorf("an earlier action changed it: %q", out)
		}
		if len(result.OutputFiles) != 1 || b.text(result.OutputFiles[0].Digest) != "changed\n" || len(result.OutputDirectories) != 1 {
			t.Errorf("outputs: %v", result)
		}
	}
	if got := b.treesOnDisk(); got != 1 {
		t.Errorf("%d trees on disk, want one", got)
	}
}

func (b *bench) treesOnDisk() int {
	b.t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.options.Dir, "trees"))
	if err != nil {
		b.t.Fatal(err)
	}
	return len(entries)
}

func TestTheOutputOfARootFileSystemMayBeTheRootItself(t *testing.T) {
	b := startSandboxed(t)
	root := b.rootFS()
	cmd := sh("rm -r /usr /lib* ; echo x >/made", "")
	cmd.OutputDirectoryFormat = repb.Command_TREE_AND_DIRECTORY
	cmd.WorkingDirectory = "tmp"
	cmd.OutputPaths = []string{".."}
	_, result := b.stdout(b.inRunner("bubblewrap", cmd, root))
	if len(result.OutputDirectories) != 1 {
		t.Fatalf("outputs: %v", result)
	}
	var dir repb.Directory
	b.parse(result.OutputDirectories[0].RootDirectoryDigest, &dir)
	names := ""
	for _, d := range dir.Directories {
		names += d.Name + " "
	}
	if len(dir.Files) != 1 || names != "bin dev proc tmp " {
		t.Errorf("files %v, directories %s", dir.Files, names)
	}
}

func TestSandboxesAsOrdinaryUser(t *testing.T) {
	if runnertest.AsOrdinaryUser(t) {
		return
	}
	for name, test := range map[string]func(*testing.T){
		"chroot": TestAnActionRunsInTheChrootThatItNames, "outputs in the root": TestOutputsInTheRootOfAChroot,
		"shared": TestARootFileSystemIsSharedAndNeverChanged, "root": TestTheOutputOfARootFileSystemMayBeTheRootItself,
		"user": TestASandboxHasTheUserThatTheActionNames, "moved": TestAnInputRootThatIsMovedIsRemoved,
	} {
		t.Run(name, test)
	}
}

func TestAWorkingDirectoryThatCannotBe(t *testing.T) {
	b := startSandboxed(t)
	rootFS := b.rootFS()
	for _, l := range []*runners.Lease{
		b.inRunner("bubblewrap", &repb.Command{Arguments: []string{"/bin/true"}, WorkingDirectory: "bin/data/x"}, rootFS),
		b.inRunner("userchroot", &repb.Command{Arguments: []string{"/bin/true"}, WorkingDirectory: "bin/data/x"}, noInputs, chrootOf(rootFS)),
	} {
		if c := b.run(l); c.Status.GetCode() != int32(code.Code_FAILED_PRECONDITION) || !strings.Contains(c.Status.Message, "data") {
			t.Errorf("status %v", c.Status)
		}
	}
}

// An action of any user has that user's ids and none of root's rights.
func TestASandboxHasTheUserThatTheActionNames(t *testing.T) {
	b := startSandboxed(t)
	rootFS := b.rootFS()
	for _, s := range sandboxes {
		root := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("mine", "mine\n")}})
		if s.rootFS {
			root = rootFS
		}
		for _, uid := range []string{"0", "1000"} {
			l := b.inRunner(s.runner, sh("id -u; id -g; grep ^Cap /proc/self/status | grep -v '0000000000000000$'; : >made", "made"), root, chrootOf(rootFS),
				runners.Property{Name: "unixUID", Value: uid}, runners.Property{Name: "unixGID", Value: "100"})
			if out, result := b.stdout(l); out != uid+"\n100\n" || len(result.OutputFiles) != 1 {
				t.Errorf("%s: stdout %q, outputs %v", s.name, out, result.OutputFiles)
			}
		}
	}
}
