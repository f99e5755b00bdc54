package actioncache

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// referenceDirectory is parseDirectory as the protobuf library has it.
func referenceDirectory(data []byte) (*node, bool) {
	var d repb.Directory
	if proto.Unmarshal(data, &d) != nil {
		return nil, false
	}
	n, names, ok := &node{}, map[string]bool{}, true
	name := func(s string) {
		ok = ok && s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/\x00") && len(s) <= maxName && !names[s]
		names[s] = true
	}
	blob := func(p *repb.Digest) digest.Digest {
		b, err := digest.FromProto(digest.SHA256, p)
		ok = ok && err == nil
		return b
	}
	for _, f := range d.Files {
		name(f.Name)
		n.files = append(n.files, blob(f.Digest))
	}
	for _, c := range d.Directories {
		name(c.Name)
		n.dirs = append(n.dirs, child{c.Name, blob(c.Digest)})
	}
	for _, l := range d.Symlinks {
		name(l.Name)
		ok = ok && l.Target != "" && !strings.Contains(l.Target, "\x00")
	}
	return n, ok
}

func directorySeeds() [][]byte {
	file := digest.Of(digest.SHA256, []byte("f"))
	d := dir{files: map[string]digest.Digest{"a": file, "b": file}, dirs: map[string]digest.Digest{"c": file, "d": digest.SHA256.Empty()}, links: map[string]string{"e": "a"}}.proto()
	d.Files[0].IsExecutable = true
	d.Files[0].NodeProperties = &repb.NodeProperties{Properties: []*repb.NodeProperty{{Name: "mtime", Value: "1"}}}
	d.NodeProperties = d.Files[0].NodeProperties
	d.Symlinks[0].NodeProperties = d.Files[0].NodeProperties
	whole := marshal(d)
	return [][]byte{
		nil, whole, whole[:len(whole)-3], append(slices.Clone(whole), whole...), []byte("\xff\xff"),
		marshal(&repb.Directory{Files: []*repb.FileNode{{Name: "../x", Digest: file.Proto()}}}),
		marshal(&repb.Directory{Files: []*repb.FileNode{{Name: "x"}}}),
		[]byte("\x0a\x02\x0a\x00\x0b\x0c"), []byte("\x0a\x04\x12\x00\x12\x00"),
	}
}

func FuzzDirectory(f *testing.F) {
	for _, seed := range directorySeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseDirectory(digest.SHA256, data)
		want, ok := referenceDirectory(data)
		if ok != (err == nil) {
			t.Fatalf("error %v, the protobuf library says %t", err, ok)
		}
		if ok && (!slices.Equal(got.files, want.files) || !slices.Equal(got.dirs, want.dirs)) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x00") {
			t.Fatalf("the message is not one line: %q", err)
		}
	})
}

func FuzzTree(f *testing.F) {
	for _, seed := range directorySeeds() {
		f.Add(append([]byte{0x0a, byte(len(seed))}, seed...))
		child := digest.Of(digest.SHA256, seed)
		root := dir{dirs: map[string]digest.Digest{"c": child}}.proto()
		f.Add(append(marshal(&repb.Tree{Root: root}), append([]byte{0x12, byte(len(seed))}, seed...)...))
		f.Add(marshal(&repb.Tree{Root: root}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseTree(digest.SHA256, data)
		if err != nil {
			return
		}
		var tree repb.Tree
		if err := proto.Unmarshal(data, &tree); err != nil {
			t.Fatalf("accepted, but not by the protobuf library: %v", err)
		}
		for _, d := range append(tree.Children, tree.Root) {
			for _, file := range d.GetFiles() {
				if fd, err := digest.FromProto(digest.SHA256, file.GetDigest()); err != nil || !slices.Contains(got.files, fd) {
					t.Fatalf("a file of the Tree is not asked for: %v", file)
				}
			}
		}
	})
}

// FuzzRecord reads what could be on a damaged disk.
func FuzzRecord(f *testing.F) {
	f.Add((&record{index: 1, seq: 2, result: []byte("r")}).bytes())
	f.Add((&record{index: 1, seq: 2, blob: actionNamed("b")}).bytes())
	f.Add(key{"main", actionNamed("a")}.bytes())
	f.Add(meta{applied: 1}.bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := parseRecord(data); err == nil && !bytes.Equal(r.bytes(), data) {
			t.Errorf("record %x is written as %x", data, r.bytes())
		}
		if k, err := parseKey(data); err == nil && !bytes.Equal(k.bytes(), data) {
			t.Errorf("key %x is written as %x", data, k.bytes())
		}
		if m, err := parseMeta(data); err == nil && !bytes.Equal(m.bytes(), data) {
			t.Errorf("meta %x is written as %x", data, m.bytes())
		}
	})
}
