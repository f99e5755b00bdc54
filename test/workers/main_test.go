// Package workers lets remote workers, servers and clients of their own processes
// work together, and kills some of them.
package workers

import (
	"testing"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
