package harness

import (
	"os"
	"testing"

	"github.com/bgrid-node/bgrid-node/node/client"
)

// Start starts a node with a data directory of its own for the test, which ends
// it. When the test fails, the node's log is printed. The package's TestMain
// calls Main.
func Start(t testing.TB, args ...string) *Node {
	t.Helper()
	binary := os.Getenv(binaryVariable)
	if binary == "" {
		t.Fatal("TestMain of this package does not call harness.Main")
	}
	n, err := Launch(t.Context(), Options{Binary: binary, Dir: t.TempDir(), Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-n.Exited():
		default:
			if err := n.Stop(); err != nil && !t.Failed() {
				t.Error(err)
			}
		}
		if t.Failed() {
			t.Logf("log of the node:\n%s", n.Log())
		}
	})
	return n
}

// Dial returns a client of the node that the test closes.
func (n *Node) Dial(t testing.TB) *client.Client {
	t.Helper()
	c, err := n.Client(client.Options{Tool: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
