// Package realclient lets the clients that others wrote use a real node.
package realclient

import (
	"testing"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
