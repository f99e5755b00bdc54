package k8s

import (
	"testing"

	"github.com/bgrid-node/bgrid-node/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
