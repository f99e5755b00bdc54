package runnertest

import (
	"path/filepath"

	"github.com/bgrid-node/bgrid-node/runners"
)

var subtreeTests = []test{
	{"what is read-only cannot be changed, what is writable within can", func(r *rig) {
		if _, ok := r.runner.(runners.Layering); !ok {
			return // the modes of files are to do, and those are not the runner's
		}
		for _, name := range []string{"file", "kept/file", "kept/deep/file", "kept/own dir/file", "kept/own dir/kept/file"} {
			r.write(name, "old\n", 0o666)
		}
		t := r.sh(`for d in . kept kept/deep 'kept/own dir' 'kept/own dir/kept'; do
			(echo new >>"$d/file") 2>/dev/null && echo "write $d"
			(: >"$d/made") 2>/dev/null && echo "make in $d"
			chmod 777 "$d" 2>/dev/null && echo "chmod $d"
		done; cat kept/file kept/deep/file`)
		t.Subtrees = []runners.Subtree{{Path: "kept", ReadOnly: true}, {Path: "kept/own dir"}, {Path: "kept/own dir/kept", ReadOnly: true}}
		r.wantExit(t, 0, "write .\nmake in .\nchmod .\nwrite kept/own dir\nmake in kept/own dir\nchmod kept/own dir\nold\nold\n")
		if got := r.read(filepath.Join(r.dir, "kept/own dir/file")); got != "old\nnew\n" {
			r.Errorf("what it wrote is %q", got)
		}
	}},
	{"the root may be read-only, and the next command is free of it", func(r *rig) {
		if _, ok := r.runner.(runners.Layering); !ok {
			return
		}
		r.write("out/in", "in\n", 0o666)
		t := r.sh("(: >made) 2>/dev/null && echo made; (: >out/made) && (: >/tmp/made) && (: >/dev/null) && cat out/in")
		t.Subtrees = []runners.Subtree{{ReadOnly: true}, {Path: "out"}}
		r.wantExit(t, 0, "in\n")
		r.wantExit(r.sh(": >made && : >out/again && echo free"), 0, "free\n")
	}},
}
