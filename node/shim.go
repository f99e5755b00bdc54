package node

import "github.com/bgrid-node/bgrid-node/runners/shim"

// MaybeShim turns this process into the shim of an action when it was started as
// one, and then never returns. Every main calls it first.
func MaybeShim() { shim.MaybeRun() }
