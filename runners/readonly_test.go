package runners_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/bgrid-node/bgrid-node/runners"
	"github.com/bgrid-node/bgrid-node/runners/runnertest"
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// marked stores a directory as BuildStream does: value says whether it is
// read-only, "" leaves it out.
func (b *bench) marked(value string, d *repb.Directory) digest.Digest {
	b.t.Helper()
	if value != "" {
		d.NodeProperties = &repb.NodeProperties{Properties: []*repb.NodeProperty{{Name: "SubtreeReadOnly", Value: value}}}
	}
	return b.message(d)
}

// keeping makes a tree in which "kept" is read-only, "kept/own" is not, and
// "kept/own/again" is; each directory has a file.
func (b *bench) keeping(value string) digest.Digest {
	b.t.Helper()
	dir := func(name string, d digest.Digest) []*repb.DirectoryNode {
		return []*repb.DirectoryNode{{Name: name, Digest: d.Proto()}}
	}
	files := func() []*repb.FileNode { return []*repb.FileNode{b.file("file", "old\n")} }
	again := b.marked("true", &repb.Directory{Files: files()})
	own := b.marked("false", &repb.Directory{Files: files(), Directories: dir("again", again)})
	kept := b.marked(value, &repb.Directory{Files: files(), Directories: dir("own", own)})
	return b.message(&repb.Directory{Files: files(), Directories: dir("kept", kept)})
}

// changes tries to change each directory of that tree, and prints what it did.
const changes = `for d in . kept kept/own kept/own/again; do
	(echo new >>$d/file && : >$d/made && chmod 711 $d && mkdir $d/sub && ln $d/file $d/link && rm $d/link) 2>/dev/null && echo $d
done; cat kept/file kept/own/again/file`

// in puts a tree at the root of another one.
func (b *bench) in(root, tree digest.Digest) digest.Digest {
	b.t.Helper()
	var d, over repb.Directory
	b.parse(root.Proto(), &d)
	b.parse(tree.Proto(), &over)
	d.Files = append(d.Files, over.Files...)
	d.Directories = append(d.Directories, over.Directories...)
	d.NodeProperties = over.NodeProperties
	return b.message(&d)
}

// copying is a runner on a machine that has no overlays.
type copying struct {
	runners.Runner
	runners.Layering
}

func (copying) Overlays() bool { return false }

func TestWhatIsMarkedReadOnlyStaysAsItIs(t *testing.T) {
	staysAsItIs(t, startSandboxed(t))
}

func TestWhatIsMarkedReadOnlyStaysSoInACopy(t *testing.T) {
	staysAsItIs(t, startSandboxedWith(t, func(o *runners.WorkerOptions) {
		for i, r := range o.Runners {
			if l, ok := r.(runners.Layering); ok {
				o.Runners[i] = copying{r, l}
			}
		}
	}))
}

func staysAsItIs(t *testing.T, b *bench) {
	rootFS := b.rootFS()
	for _, s := range sandboxes {
		for _, uid := range []string{"0", "1000"} {
			t.Run(s.name+" "+uid, func(t *testing.T) {
				for _, c := range []struct{ value, want string }{
					{"true", ".\nkept/own\nold\nold\n"},
					{"", ".\nkept\nkept/own\nold\nnew\nold\n"}, // the tree of the other must not be taken for it
				} {
					root := b.keeping(c.value)
					if s.rootFS {
						root = b.in(rootFS, root)
					}
					cmd := sh(changes, "kept", "made", "kept/own/again/made")
					out, result := b.stdout(b.inRunner(s.runner, cmd, root, chrootOf(rootFS), runners.Property{Name: "unixUID", Value: uid}))
					if out != c.want {
						t.Errorf("%q: stdout %q, want %q", c.value, out, c.want)
					}
					if len(result.OutputFiles) != 1 || len(result.OutputDirectories) != 1 {
						t.Errorf("%q: outputs %v", c.value, result)
					}
				}
			})
		}
	}
}

func TestTheRootMayBeReadOnlyAsBuildStreamWantsIt(t *testing.T) {
	b := startSandboxed(t)
	own := b.marked("false", &repb.Directory{})
	tree := b.marked("true", &repb.Directory{Directories: []*repb.DirectoryNode{{Name: "install", Digest: own.Proto()}}})
	cmd := sh(`(: >/made) 2>/dev/null && echo root; (: >/bin/made) 2>/dev/null && echo bin; : >made && : >/tmp/x && : >/dev/null && echo done`, "..", "../nowhere/out")
	cmd.WorkingDirectory = "install"
	cmd.OutputPaths = []string{"../install", "../nowhere/out"}
	out, result := b.stdout(b.inRunner("bubblewrap", cmd, b.in(b.rootFS(), tree)))
	if out != "done\n" || len(result.OutputDirectories) != 1 {
		t.Errorf("stdout %q, outputs %v", out, result)
	}
	// An output is no reason to open what is marked: as under buildbox.
	cmd = sh("echo x >nowhere/out", "nowhere/out")
	c := b.run(b.inRunner("bubblewrap", cmd, b.in(b.rootFS(), tree)))
	if c.Status != nil || c.Result.ExitCode == 0 || len(c.Result.OutputFiles) != 0 || !strings.Contains(b.text(c.Result.StderrDigest), "Read-only file system") {
		t.Errorf("an output in a read-only directory: %v", c)
	}
}

func TestMarksOfAChrootCountWhereItCouldBeWritten(t *testing.T) {
	b := startSandboxed(t)
	lib := b.marked("true", &repb.Directory{Files: []*repb.FileNode{b.file("file", "old\n")}})
	opt := b.message(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "lib", Digest: lib.Proto()}}})
	chroot := b.in(b.rootFS(), b.message(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "opt", Digest: opt.Proto()}}}))
	out, _ := b.stdout(b.inRunner("userchroot", sh("(: >opt/lib/made) 2>/dev/null && echo lib; : >opt/made && cat opt/lib/file", "opt/made"), noInputs, chrootOf(chroot)))
	if out != "old\n" {
		t.Errorf("stdout %q", out)
	}
}

// TestNoWayIntoWhatIsReadOnly has an action try what its rights may leave open.
func TestNoWayIntoWhatIsReadOnly(t *testing.T) {
	b := startSandboxed(t)
	rootFS := b.rootFS()
	scripts := map[string]string{
		"remounting":                      "mount -o remount,rw kept; mount -o remount,rw,bind kept; umount kept; umount -l kept; echo x >kept/file",
		"a mount over it":                 "mount --bind kept/own kept; mount -t tmpfs none kept; echo x >kept/file",
		"a user namespace of its own":     `unshare -Urm sh -c 'umount kept; umount -l kept; mount -o remount,bind,rw kept; mount --bind kept kept; mount -o remount,bind,rw kept; echo x >kept/file'`,
		"binding the parent in a new one": `unshare -Urm sh -c 'mkdir p; mount --bind . p && echo x >p/kept/file; mount --rbind . p && { umount -l p/kept; echo x >p/kept/file; }'; rmdir p`,
		"a hard link beside it":           "ln kept/file own; echo x >own; ln -f file kept/file; ln kept/file kept/own/link; echo x >kept/own/link; rm kept/own/link",
		"renaming":                        "mv kept/file own; mv kept gone; mkdir kept && echo x >kept/file; mv -T kept/own/again kept/own/gone; echo x >gone/file",
		"replacing it":                    "rm -rf kept; ln -sfn kept/own kept; echo x >kept/file",
		"another name for it":             "ln -s kept/file link; echo x >link; echo x >/proc/self/cwd/kept/file; (cd kept && echo x >/proc/self/cwd/file); exec 5<kept/file; echo x >/proc/self/fd/5",
		"rights":                          "chmod 777 kept kept/file; touch kept/file; echo x >kept/file",
	}
	for _, s := range sandboxes {
		t.Run(s.name, func(t *testing.T) {
			root := b.keeping("true")
			if s.rootFS {
				root = b.in(rootFS, root)
			}
			for _, uid := range []string{"0", "1000"} { // root inside gets no user namespace with a root of its own
				for name, script := range scripts {
					l := b.inRunner(s.runner, sh("("+script+") >/dev/null 2>&1; cat kept/file kept/own/again/file", "kept/file", "kept/own/again"), root,
						chrootOf(rootFS), runners.Property{Name: "unixUID", Value: uid})
					out, result := b.stdout(l)
					if out != "old\nold\n" {
						t.Errorf("%s: it is %q now", name, out)
					}
					if files := result.OutputFiles; len(files) != 1 || b.text(files[0].Digest) != "old\n" {
						t.Errorf("%s: as an output it is %v", name, files)
					}
				}
			}
		})
	}
}

// Without a sandbox the modes of files are all that there is: they hold an ordinary
// user until he changes them, and root not at all.
func TestUnderHosttoolsMarksAreModes(t *testing.T) {
	b := start(t, nil)
	for _, c := range []struct{ value, want string }{
		{"true", "755 644\n555 444\n755 644\n555 444\n"}, {"", "755 644\n755 644\n755 644\n555 444\n"},
	} {
		modes := "for d in . kept kept/own kept/own/again; do stat -c %a $d $d/file | paste -d ' ' - -; done"
		if out := b.text(b.result(sh(modes), b.keeping(c.value)).StdoutDigest); out != c.want {
			t.Errorf("%q: %q, want %q", c.value, out, c.want)
		}
	}
	if os.Geteuid() != 0 {
		script := strings.ReplaceAll(changes, "&& chmod 711 $d", "")
		r := b.result(sh(script, "kept", "kept/own/made"), b.keeping("true"))
		if out := b.text(r.StdoutDigest); out != ".\nkept/own\nold\nold\n" || len(r.OutputFiles) != 1 || len(r.OutputDirectories) != 1 {
			t.Errorf("stdout %q, result %v", out, r)
		}
	}
	b.kill()
	<-b.stopped
	if left, err := filepath.Glob(filepath.Join(b.dir, "roots/*")); err != nil || len(left) != 0 {
		t.Errorf("not removed: %v %v", left, err)
	}
}

func TestTooManyMarksAreTheClientsFault(t *testing.T) {
	b := startSandboxed(t)
	mark := b.marked("true", &repb.Directory{})
	root := &repb.Directory{}
	for i := range 500 {
		root.Directories = append(root.Directories, &repb.DirectoryNode{Name: fmt.Sprint(i), Digest: mark.Proto()})
	}
	wide := b.message(root)
	covered := b.marked("true", root)
	for _, s := range sandboxes {
		property := chrootOf(b.rootFS())
		c := b.run(b.inRunner(s.runner, sh("true"), wide, property))
		if c.Status.GetCode() != int32(code.Code_INVALID_ARGUMENT) || !strings.Contains(c.Status.Message, "SubtreeReadOnly") {
			t.Errorf("%s: status %v", s.name, c.Status)
		}
		b.stdout(b.inRunner(s.runner, sh("true"), covered, property))
	}
}

func TestReadOnlyAsOrdinaryUser(t *testing.T) {
	if runnertest.AsOrdinaryUser(t) {
		return
	}
	for name, test := range map[string]func(*testing.T){
		"stays": TestWhatIsMarkedReadOnlyStaysAsItIs, "copy": TestWhatIsMarkedReadOnlyStaysSoInACopy, "root": TestTheRootMayBeReadOnlyAsBuildStreamWantsIt,
		"ways in": TestNoWayIntoWhatIsReadOnly, "hosttools": TestUnderHosttoolsMarksAreModes,
	} {
		t.Run(name, test)
	}
}
