package runners

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/code"
)

func TestOutermost(t *testing.T) {
	for _, c := range [][2]string{
		{"b a/x a", "a b"}, {"a-b a a/b a/b/c a.b", "a a-b a.b"}, {"a a", "a"}, {"x/y/z x/yy x/y", "x/y x/yy"},
	} {
		if got := strings.Join(outermost(strings.Fields(c[0])), " "); got != c[1] {
			t.Errorf("of %q: %q, want %q", c[0], got, c[1])
		}
	}
	if diff := cmp.Diff([]string{""}, outermost([]string{"a", "", "b/c"})); diff != "" {
		t.Error(diff)
	}
}

func TestAnInputRootThatAddsTooManyDirectoriesToAChrootIsRefused(t *testing.T) {
	chroot, input := plant(), plant()
	for i := range maxMounts + 1 {
		input.add(input.tree.root, strconv.Itoa(i), unmarked)
	}
	if _, _, err := confinement(chroot.tree, input.tree, &command{}); statusOf(err).GetCode() != int32(code.Code_FAILED_PRECONDITION) || !strings.Contains(err.Error(), "10001") {
		t.Errorf("%v", err)
	}
	input.tree.root.dirs = input.tree.root.dirs[1:]
	if writable, _, err := confinement(chroot.tree, input.tree, &command{}); err != nil || len(writable) != maxMounts {
		t.Errorf("as many as may be: %d, %v", len(writable), err)
	}
}
