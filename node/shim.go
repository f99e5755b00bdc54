package node

import "github.com/bgrid-node/bgrid-node/runners/shim"

// MaybeShim does nothing, unless this process was started to start, watch and
// kill the commands of a local worker: then it does that and never returns. Call
// it first of all in main.
func MaybeShim() { shim.MaybeRun() }
