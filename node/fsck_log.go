package node

import "context"

// log checks the command log of a node of a cluster; one that stands alone has
// none.
func (c *Checkup) log(context.Context, FsckOptions, uint64) {}
