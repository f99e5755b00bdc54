package kubelet

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/bgrid-node/bgrid-node/test/cluster/netns"
	"github.com/bgrid-node/bgrid-node/test/harness"
)

// TestMain runs the tests in a network of their own where that can be.
func TestMain(m *testing.M) {
	if netns.Inside() {
		if err := netns.New(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	harness.Around(func() int {
		if netns.Available() != nil {
			return m.Run()
		}
		code, err := netns.Reenter(context.Background(), os.Args[1:]...)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return code
	})
}
