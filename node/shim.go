package node

import (
	"github.com/bgrid-node/bgrid-node/runners/shim"
	"github.com/bgrid-node/bgrid-node/runners/userchroot"
)

// MaybeShim turns this process into what starts an action when it was started as
// such, and then never returns. Every main calls it first.
func MaybeShim() {
	userchroot.MaybeRun()
	shim.MaybeRun()
}
