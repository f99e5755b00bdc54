package reapi

import (
	"fmt"
	"testing"
	"time"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

func TestActionsAreRemembered(t *testing.T) {
	s := newExecServer(t)
	d := s.upload(t, nil, nil, nil)
	s.results.results[d] = &repb.ActionResult{}
	for range 3 {
		if _, err := s.execute(t.Context(), requestFor(d)); err != nil {
			t.Fatal(err)
		}
	}
	if s.blobs.gets != 2 {
		t.Errorf("%d reads of the store, want one of the Action and one of the Command", s.blobs.gets)
	}
}

func TestMemoIsBounded(t *testing.T) {
	m := newMemo(200 << 10)
	held := func() int { return len(m.young) + len(m.old) }
	kept := &parsedAction{digest: digest.Of(digest.SHA256, []byte("kept"))}
	m.put(kept)
	for i := range 10_000 {
		m.put(&parsedAction{digest: digest.Of(digest.SHA256, fmt.Append(nil, i))})
		if m.get(kept.digest) != kept {
			t.Fatalf("what is in use was forgotten after %d", i)
		}
	}
	if most := (200 << 10) / kept.bytes(); held() > most+2 {
		t.Errorf("%d actions held, the bound is %d", held(), most)
	}
}

func TestTimeoutOf(t *testing.T) {
	a := &actions{maxTimeout: time.Hour}
	for _, c := range []struct {
		timeout *durationpb.Duration
		want    time.Duration
		ok      bool
	}{
		{nil, 0, true},
		{durationpb.New(0), 0, true},
		{durationpb.New(time.Hour), time.Hour, true},
		{durationpb.New(time.Hour + 1), 0, false},
		{&durationpb.Duration{Seconds: 1 << 60}, 0, false},
	} {
		got, err := a.timeoutOf(&repb.Action{Timeout: c.timeout})
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%v: got %v, %v", c.timeout, got, err)
		}
	}
}

func TestRootFileSystems(t *testing.T) {
	s := newExecServer(t)
	file := s.blobs.put([]byte("x")).Proto()
	dir := func(files []string, links map[string]string, dirs map[string]digest.Digest) digest.Digest {
		d := &repb.Directory{}
		for _, f := range files {
			d.Files = append(d.Files, &repb.FileNode{Name: f, Digest: file})
		}
		for name, target := range links {
			d.Symlinks = append(d.Symlinks, &repb.SymlinkNode{Name: name, Target: target})
		}
		for name, child := range dirs {
			d.Directories = append(d.Directories, &repb.DirectoryNode{Name: name, Digest: child.Proto()})
		}
		return s.blobs.message(t, d)
	}
	type dirs = map[string]digest.Digest
	type links = map[string]string
	withSh := dir([]string{"sh"}, nil, nil)
	for name, c := range map[string]struct {
		root    digest.Digest
		program string
		want    bool
	}{
		"empty":                         {digest.SHA256.Empty(), "", false},
		"a project":                     {dir([]string{"main.c"}, nil, dirs{"src": withSh}), "/usr/bin/gcc", false},
		"bin/sh":                        {dir(nil, nil, dirs{"bin": withSh}), "", true},
		"bin/sh as a link":              {dir(nil, nil, dirs{"bin": dir(nil, links{"sh": "/bin/busybox"}, nil)}), "", true},
		"merged usr":                    {dir(nil, links{"bin": "usr/bin"}, dirs{"usr": dir(nil, nil, dirs{"bin": withSh})}), "", true},
		"merged usr, absolute":          {dir(nil, links{"bin": "/usr/bin"}, dirs{"usr": dir(nil, nil, dirs{"bin": withSh})}), "", true},
		"usr/bin/env":                   {dir(nil, nil, dirs{"usr": dir(nil, nil, dirs{"bin": dir([]string{"env"}, nil, nil)})}), "", true},
		"the program":                   {dir(nil, nil, dirs{"opt": dir([]string{"cc"}, nil, nil)}), "/opt/cc", true},
		"another program":               {dir(nil, nil, dirs{"opt": dir([]string{"cc"}, nil, nil)}), "/opt/ld", false},
		"a link upwards stays inside":   {dir(nil, links{"bin": "../../usr"}, dirs{"usr": withSh}), "", true},
		"a link in a circle":            {dir(nil, links{"bin": "bin"}, nil), "", false},
		"two links in a circle":         {dir(nil, links{"bin": "usr", "usr": "bin"}, nil), "/usr/bin/x", false},
		"a directory bin/sh is no file": {dir(nil, nil, dirs{"bin": dir(nil, nil, dirs{"sh": withSh})}), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			a := &actions{blobs: s.blobs}
			got, err := a.isRootFS(t.Context(), &parsedAction{inputRoot: c.root, program: c.program})
			if err != nil || got != c.want {
				t.Errorf("got %t, %v", got, err)
			}
		})
	}
}
