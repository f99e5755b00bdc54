package runners_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// makeOutputs makes one of everything that can be an output.
const makeOutputs = `mkdir -p dir/sub; echo f >file; echo x >exe; chmod 755 exe; echo d >dir/sub/file
ln -s file flink; ln -s dir dlink; ln -s nowhere dangling; ln -s /etc absolute; mkdir empty`

var (
	fileOut = digest.Of(digest.SHA256, []byte("f\n")).Proto()
	exeOut  = digest.Of(digest.SHA256, []byte("x\n")).Proto()
)

// plain is the result without what says nothing about outputs.
func plain(r *repb.ActionResult) *repb.ActionResult {
	r = proto.CloneOf(r)
	r.ExecutionMetadata, r.StdoutDigest, r.StderrDigest = nil, nil, nil
	for _, d := range r.OutputDirectories {
		d.TreeDigest, d.RootDirectoryDigest, d.IsTopologicallySorted = nil, nil, false
	}
	return r
}

func TestOutputsOfBothGenerationsOfClients(t *testing.T) {
	link := func(path, target string) *repb.OutputSymlink {
		return &repb.OutputSymlink{Path: path, Target: target}
	}
	b := start(t, nil)
	for name, c := range map[string]struct {
		cmd  *repb.Command
		want *repb.ActionResult
	}{
		"output_paths": {
			&repb.Command{OutputPaths: []string{"file", "exe", "dir", "empty", "flink", "dlink", "dangling", "absolute", "none", "./dir/../file"}},
			&repb.ActionResult{
				OutputFiles:             []*repb.OutputFile{{Path: "file", Digest: fileOut}, {Path: "exe", Digest: exeOut, IsExecutable: true}, {Path: "./dir/../file", Digest: fileOut}},
				OutputDirectories:       []*repb.OutputDirectory{{Path: "dir"}, {Path: "empty"}},
				OutputSymlinks:          []*repb.OutputSymlink{link("flink", "file"), link("dlink", "dir"), link("dangling", "nowhere"), link("absolute", "/etc")},
				OutputFileSymlinks:      []*repb.OutputSymlink{link("flink", "file")},
				OutputDirectorySymlinks: []*repb.OutputSymlink{link("dlink", "dir")},
			},
		},
		"output_files and output_directories": {
			&repb.Command{OutputFiles: []string{"exe", "file", "flink", "dangling", "none"}, OutputDirectories: []string{"dir", "dlink", "nodir"}},
			&repb.ActionResult{
				OutputFiles:             []*repb.OutputFile{{Path: "exe", Digest: exeOut, IsExecutable: true}, {Path: "file", Digest: fileOut}},
				OutputDirectories:       []*repb.OutputDirectory{{Path: "dir"}},
				OutputFileSymlinks:      []*repb.OutputSymlink{link("flink", "file"), link("dangling", "nowhere")},
				OutputDirectorySymlinks: []*repb.OutputSymlink{link("dlink", "dir")},
			},
		},
		"output_paths rule out the others": {
			&repb.Command{OutputPaths: []string{"file"}, OutputFiles: []string{"exe"}, OutputDirectories: []string{"dir"}},
			&repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "file", Digest: fileOut}}},
		},
		"through a link in the path": {
			&repb.Command{OutputPaths: []string{"dlink/sub/file", "absolute/passwd"}},
			&repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "dlink/sub/file", Digest: digest.Of(digest.SHA256, []byte("d\n")).Proto()}}},
		},
		"relative to the working directory": {
			&repb.Command{OutputPaths: []string{"../w/file", "../top"}, WorkingDirectory: "w"},
			&repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: "../w/file", Digest: fileOut}, {Path: "../top", Digest: exeOut}}},
		},
	} {
		full := sh(makeOutputs + "; echo x >../top 2>/dev/null; true")
		proto.Merge(full, c.cmd)
		if c.cmd.WorkingDirectory == "" { // whatever was made for the outputs is in the way
			full.Arguments[2] = "rm -rf ./*; " + makeOutputs
		}
		r := b.result(full, noInputs)
		if diff := cmp.Diff(c.want, plain(r), protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestOutputsOfTheWrongKindAreRefused(t *testing.T) {
	b := start(t, nil)
	for name, c := range map[string]*repb.Command{
		"a directory as file":           {OutputFiles: []string{"dir"}},
		"a link to one as file":         {OutputFiles: []string{"dlink"}},
		"a file as directory":           {OutputDirectories: []string{"file"}},
		"a link to a file as directory": {OutputDirectories: []string{"flink"}},
	} {
		full := sh(makeOutputs)
		proto.Merge(full, c)
		if got := b.run(b.lease(full, noInputs)); code.Code(got.Status.GetCode()) != code.Code_FAILED_PRECONDITION {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestDirectoriesComeInTheFormatThatWasAsked also holds each Directory and Tree to
// the canonical form.
func TestDirectoriesComeInTheFormatThatWasAsked(t *testing.T) {
	b := start(t, nil)
	for _, format := range []repb.Command_OutputDirectoryFormat{repb.Command_TREE_ONLY, repb.Command_DIRECTORY_ONLY, repb.Command_TREE_AND_DIRECTORY} {
		cmd := sh(`mkdir -p o/b/same o/a/same o/B o/c; echo 1 >o/b/same/f; echo 1 >o/a/same/f; echo 2 >o/z; echo 3 >o/Z; ln -s z o/l; ln -s / o/k`, "o")
		cmd.OutputDirectoryFormat = format
		r := b.result(cmd, noInputs)
		if len(r.OutputDirectories) != 1 {
			t.Fatalf("%s: %v", format, r)
		}
		o := r.OutputDirectories[0]
		wantTree, wantRoot := format != repb.Command_DIRECTORY_ONLY, format != repb.Command_TREE_ONLY
		if (o.TreeDigest != nil) != wantTree || (o.RootDirectoryDigest != nil) != wantRoot || o.IsTopologicallySorted != wantTree {
			t.Errorf("%s: %v", format, o)
		}
		var fromTree, fromRoot []string
		if wantTree {
			fromTree = readTree(t, b, o.TreeDigest)
		}
		if wantRoot {
			fromRoot = readDirectory(t, b, o.RootDirectoryDigest, "")
		}
		want := []string{"B/", "Z 3\n", "a/", "a/same/", "a/same/f 1\n", "b/", "b/same/", "b/same/f 1\n", "c/", "k -> /", "l -> z", "z 2\n"}
		for _, got := range [][]string{fromTree, fromRoot} {
			if got != nil && !slices.Equal(got, want) {
				t.Errorf("%s: %s", format, cmp.Diff(want, got))
			}
		}
	}
}

// readTree checks the rules of is_topologically_sorted and lists what is in it.
func readTree(t *testing.T, b *bench, d *repb.Digest) []string {
	t.Helper()
	data := []byte(b.text(d))
	reachable, seen := map[string]bool{}, map[string]bool{}
	dirs := newBenchOf(t, b)
	var root digest.Digest
	for n := 0; len(data) > 0; n++ {
		field, _, tag := protowire.ConsumeTag(data)
		value, size := protowire.ConsumeBytes(data[max(tag, 0):])
		if tag < 0 || size < 0 || (n == 0) != (field == 1) || field > 2 {
			t.Fatalf("record %d of the tree has field %d", n, field)
		}
		data = data[tag+size:]
		key := string(digest.Of(digest.SHA256, value).Hex())
		if n == 0 {
			root = digest.Of(digest.SHA256, value)
		} else if !reachable[key] {
			t.Errorf("directory %d of the tree comes before every parent of it", n)
		}
		if seen[key] {
			t.Errorf("directory %d is in the tree twice", n)
		}
		seen[key] = true
		var dir repb.Directory
		if err := proto.Unmarshal(value, &dir); err != nil {
			t.Fatal(err)
		}
		for _, sub := range dir.Directories {
			reachable[sub.Digest.Hash] = true
		}
		dirs.blobs.put(value)
	}
	return readDirectory(t, dirs, root.Proto(), "")
}

// newBenchOf shares the files of b and has Directory messages of its own.
func newBenchOf(t *testing.T, b *bench) *bench {
	own := &bench{t: t, blobs: newMemory()}
	b.blobs.mu.Lock()
	defer b.blobs.mu.Unlock()
	for d, data := range b.blobs.blobs {
		var dir repb.Directory
		if len(data) < 10 || proto.Unmarshal(data, &dir) != nil || len(dir.ProtoReflect().GetUnknown()) > 0 {
			own.blobs.blobs[d] = data
		}
	}
	return own
}

func readDirectory(t *testing.T, b *bench, d *repb.Digest, prefix string) (list []string) {
	t.Helper()
	data := []byte(b.text(d))
	var dir repb.Directory
	if err := proto.Unmarshal(data, &dir); err != nil {
		t.Fatal(err)
	}
	if again, err := (proto.MarshalOptions{Deterministic: true}).Marshal(&dir); err != nil || !bytes.Equal(data, again) {
		t.Errorf("directory %q is not in canonical form", prefix)
	}
	var names []string
	for _, f := range dir.Files {
		names = append(names, f.Name)
		list = append(list, prefix+f.Name+" "+b.text(f.Digest))
	}
	sorted := slices.IsSorted(names)
	names = nil
	for _, l := range dir.Symlinks {
		names = append(names, l.Name)
		list = append(list, prefix+l.Name+" -> "+l.Target)
	}
	sorted = sorted && slices.IsSorted(names)
	names = nil
	for _, s := range dir.Directories {
		names = append(names, s.Name)
		list = append(append(list, prefix+s.Name+"/"), readDirectory(t, b, s.Digest, prefix+s.Name+"/")...)
	}
	if !sorted || !slices.IsSorted(names) {
		t.Errorf("directory %q is not in order", prefix)
	}
	slices.Sort(list)
	return list
}

func TestNodePropertiesOfOutputsAreGivenWhenAskedFor(t *testing.T) {
	b := start(t, nil)
	cmd := sh("echo f >f; chmod 640 f; mkdir -p d; echo g >d/g; ln -s f l; touch -h -d @1000000001.5 f d/g l; chmod 751 d; touch -d @1000000002 d", "f", "d", "l")
	r := b.result(cmd, noInputs)
	if r.OutputFiles[0].NodeProperties != nil || r.OutputSymlinks[0].NodeProperties != nil {
		t.Errorf("given without being asked for: %v", r)
	}
	cmd.OutputNodeProperties = []string{"mtime", "unix_mode"}
	r = b.result(cmd, noInputs)
	var tree repb.Tree
	if err := proto.Unmarshal([]byte(b.text(r.OutputDirectories[0].TreeDigest)), &tree); err != nil {
		t.Fatal(err)
	}
	half := &timestamppb.Timestamp{Seconds: 1000000001, Nanos: 500000000}
	for name, c := range map[string]struct {
		p     *repb.NodeProperties
		mode  uint32
		mtime *timestamppb.Timestamp
	}{
		"file":              {r.OutputFiles[0].NodeProperties, 0o640, half},
		"symlink":           {r.OutputSymlinks[0].NodeProperties, 0o777, half},
		"directory":         {tree.Root.NodeProperties, 0o751, &timestamppb.Timestamp{Seconds: 1000000002}},
		"file in directory": {tree.Root.Files[0].NodeProperties, 0o644, half},
	} {
		if c.p.GetUnixMode().GetValue() != c.mode || !proto.Equal(c.p.GetMtime(), c.mtime) {
			t.Errorf("%s: %v", name, c.p)
		}
	}
}

func TestTheInputRootItselfMayBeAnOutput(t *testing.T) {
	b := start(t, nil)
	root := b.message(&repb.Directory{Files: []*repb.FileNode{b.file("in", "i")}})
	cmd := sh("echo new >new", "..")
	cmd.WorkingDirectory = "w"
	r := b.result(cmd, root)
	want := []string{"in i", "w/", "w/new new\n"}
	if got := readTree(t, b, r.OutputDirectories[0].TreeDigest); !slices.Equal(got, want) || r.OutputDirectories[0].Path != ".." {
		t.Errorf("%v: %v", r, got)
	}
}

// TestWhatLeadsOutOfTheInputRootIsNotCollected has the action plant links where
// its outputs are looked for.
func TestWhatLeadsOutOfTheInputRootIsNotCollected(t *testing.T) {
	b := start(t, nil)
	secret := t.TempDir()
	if err := os.WriteFile(filepath.Join(secret, "key"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, plant := range []string{
		"rmdir out; ln -s " + secret + " out", "ln -s ../../../../../../../../../.." + secret + " x; rmdir out; ln -s x out",
		"rmdir out; ln -s /proc/self/root" + secret + " out",
	} {
		r := b.result(sh(plant, "out/key"), noInputs)
		if len(r.OutputFiles) != 0 || !strings.Contains(b.text(r.StderrDigest), "out of the input root") {
			t.Errorf("%s: %v, stderr %q", plant, r, b.text(r.StderrDigest))
		}
	}
	r := b.result(sh("mkdir d; ln -s "+secret+" d/l; ln "+secret+"/key d/hard 2>/dev/null; true", "d"), noInputs)
	if got := readTree(t, b, r.OutputDirectories[0].TreeDigest); !slices.Contains(got, "l -> "+secret) || slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "l/") }) {
		t.Errorf("a link in an output directory was followed: %v", got)
	}
}

func TestWhatIsNoFileIsLeftOutAndNamed(t *testing.T) {
	b := start(t, nil)
	r := b.result(sh(`mkfifo fifo; mkdir d; mkfifo d/pipe; echo x >d/x
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")' 2>/dev/null || perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local=>"sock",Listen=>1)'; printf 'no newline' >&2`, "fifo", "sock", "d"), noInputs)
	if len(r.OutputFiles) != 0 || len(r.OutputDirectories) != 1 {
		t.Errorf("%v", r)
	}
	stderr := b.text(r.StderrDigest)
	for _, want := range []string{"no newline\nbgrid-node: ", `"fifo" is left out: it is a named pipe`, `"sock" is left out: it is a socket`, `"d/pipe" is left out: it is a named pipe`} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr is %q, without %q", stderr, want)
		}
	}
	if got := readTree(t, b, r.OutputDirectories[0].TreeDigest); !slices.Equal(got, []string{"x x\n"}) {
		t.Errorf("the directory has %v", got)
	}
}

func TestWhatTheOwnerMayNotReadIsCollected(t *testing.T) {
	b := start(t, nil)
	cmd := sh("mkdir -p p/q d/e; echo 1 >p/q/f; echo 2 >d/e/f; echo 3 >f; chmod 000 f d/e/f; chmod 000 d/e d; chmod 000 p/q p; chmod 000 .", "p/q/f", "d", "f")
	cmd.OutputNodeProperties = []string{"unix_mode"}
	r := b.result(cmd, noInputs)
	if len(r.OutputFiles) != 2 || b.text(r.OutputFiles[0].Digest) != "1\n" || b.text(r.OutputFiles[1].Digest) != "3\n" ||
		r.OutputFiles[1].NodeProperties.UnixMode.GetValue() != 0 {
		t.Fatalf("%v", r)
	}
	if got := readTree(t, b, r.OutputDirectories[0].TreeDigest); !slices.Equal(got, []string{"e/", "e/f 2\n"}) {
		t.Errorf("the directory has %v", got)
	}
}

func TestNothingIsLeftOfAnyInputRoot(t *testing.T) {
	b := start(t, nil)
	for _, script := range []string{
		"mkdir -p a/b/c; touch a/b/c/f; chmod 000 a/b/c/f a/b/c a/b a .",
		"p=d; for i in $(seq 250); do p=$p/d; done; mkdir -p $p; touch $p/f", // deeper than is held open
		"mkfifo p; ln -s / l; ln -s .. u; mkdir e; chmod 555 e .",
		"i=0; while [ $i -lt 500 ]; do : >f$i; i=$((i+1)); done",
	} {
		b.result(sh(script), noInputs)
	}
	close(b.session.events)
	<-b.stopped
	for _, name := range []string{"roots", "trash", "output"} {
		if left, err := os.ReadDir(filepath.Join(b.dir, name)); err != nil || len(left) != 0 {
			t.Errorf("in %s is left: %v, %v", name, left, err)
		}
	}
}

// TestNoMountIsEmptied mounts, as root, something into the input root.
func TestNoMountIsEmptied(t *testing.T) {
	precious := t.TempDir()
	if err := os.WriteFile(filepath.Join(precious, "file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := start(t, nil)
	r := b.result(sh("mkdir m; mount --bind "+precious+" m 2>/dev/null && pwd"), noInputs)
	where := strings.TrimSpace(b.text(r.StdoutDigest))
	close(b.session.events)
	<-b.stopped
	if _, err := os.Stat(filepath.Join(precious, "file")); err != nil {
		t.Errorf("what was mounted in an input root was removed: %v", err)
	}
	if where != "" { // without the right to mount nothing was tested, and nothing is there to fear
		if err := syscall.Unmount(filepath.Join(where, "m"), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
}

func TestOutputsThatGrowLargeAreStreamed(t *testing.T) {
	b := start(t, nil)
	r := b.result(sh("head -c 5000000 /dev/zero >big; mkdir d; cp big d/", "big", "d"), noInputs)
	if len(b.text(r.OutputFiles[0].Digest)) != 5000000 {
		t.Errorf("%v", r)
	}
	if took := r.ExecutionMetadata.OutputUploadCompletedTimestamp.AsTime().Sub(time.Time{}); took <= 0 {
		t.Error("no time of upload")
	}
}

// Without a sandbox an action can move its own input root: its outputs are found all
// the same, and nothing stays behind.
func TestAnInputRootThatIsMovedIsRemoved(t *testing.T) {
	b := start(t, nil)
	elsewhere := t.TempDir() // in the same file system as the worker's
	for _, script := range []string{
		`mv "$d" "$d.x"`, `mv "$d" "$d.x"; mkdir "$d"; echo other >"$d/out"`, `mv "$d" ` + elsewhere + `/there; ln -s /etc "$d"`,
		`mv "$d" "$d.x"; mkdir "$d"; chmod 0 . "$d"`,
	} {
		r := b.result(sh(`d=$PWD; echo own >out; `+script, "out"), noInputs)
		if len(r.OutputFiles) != 1 || b.text(r.OutputFiles[0].Digest) != "own\n" {
			t.Errorf("%s: outputs %v", script, r.OutputFiles)
		}
	}
	b.kill()
	<-b.stopped
	for _, pattern := range []string{b.dir + "/roots/*", b.dir + "/trash/*", elsewhere + "/*"} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) != 0 {
			t.Errorf("left behind: %q %v", left, err)
		}
	}
}
